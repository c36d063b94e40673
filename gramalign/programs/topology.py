"""TPU slices and GPUs to compile for without having them, by name."""

from typing import Any

from gramalign.programs.chips import CHIPS
from gramalign.programs.gpus import GPUS, gpu_devices
from gramalign.programs.tpus import tpu_devices


def devices_of(topology: str) -> list[Any]:
    """The devices of a topology, to compile for; nothing can run on them.

    Args:
        topology: as for `tpu_devices`, such as `v5e:4x4`, or for `gpu_devices`, such as `h100:8`.

    Raises:
        OSError: if their compiler is not installed or cannot start.
        ValueError: for a topology that does not exist.
    """
    generation = topology.partition(":")[0]
    tpus = [chip.name for chip in CHIPS.values() if chip.name not in GPUS]
    if generation in GPUS:
        return gpu_devices(topology)
    if generation in tpus:
        return tpu_devices(topology)
    raise ValueError(
        f"no topology {topology!r}: give TPUs, {', '.join(tpus)}, such as v5e:4x4, or GPUs, "
        f"{', '.join(GPUS)}, such as h100:8"
    )

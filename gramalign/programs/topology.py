"""TPU slices and GPUs that are not there, by their names."""

from typing import Any

import numpy as np
from jax.sharding import AxisType, Mesh

from gramalign.programs.gpus import GPUS, gpu_devices
from gramalign.programs.tpus import tpu_devices


def devices_of(topology: str) -> list[Any]:
    """The devices of a topology, to compile for; nothing can run on them.

    Args:
        topology: as for `tpu_devices`, such as `v5e:4x4`, or for `gpu_devices`, such as `h100:8`.

    Raises:
        OSError: where their compiler is not installed or cannot start.
        ValueError: for a topology that does not exist.
    """
    generation = topology.partition(":")[0]
    return (gpu_devices if generation in GPUS else tpu_devices)(topology)


def mesh_along(topology: str) -> Mesh:
    """All devices of a topology along one axis, "data"; raises as `devices_of`."""
    return Mesh(np.array(devices_of(topology)), ("data",), axis_types=(AxisType.Auto,))

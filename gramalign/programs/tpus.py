"""TPU slices that are not there, to compile for on any x86 Linux machine."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

# The compiler comes as a library that otherwise looks for chips of its own: asks the cloud who it
# is, and locks the machine against a second process.
SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def missing() -> str | None:
    """What this machine lacks to compile for TPUs; None if nothing."""
    if find_spec("libtpu") is None:
        return "needs libtpu, on Linux: pip install 'gramalign[tpu]'"
    if not Path("/sys/devices/system/cpu").is_dir():
        return "needs /sys: libtpu counts the processors there, and aborts where it is not mounted"
    return None


def tpu_devices(topology: str) -> list[Any]:
    """The chips of a TPU slice, for ahead-of-time compilation; nothing can run on them.

    Args:
        topology: a generation and how its chips are laid out, such as `v5e:4x4`, `v5p:8x8x8`,
            `v6e:16x16`.

    Raises:
        OSError: where libtpu is not installed or cannot start.
        ValueError: for a topology that does not exist.
    """
    if (problem := missing()) is not None:
        raise OSError(f"compiling for TPUs {problem}")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"no TPU topology {topology!r}; give a generation and a layout, such as v5e:4x4, "
            f"v5p:8x8x8 or v6e:16x16 ({error})"
        ) from None
    return list(found.devices)

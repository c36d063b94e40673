"""TPU slices to compile for without having them, on any x86 Linux machine.

libtpu accepts slices that do not exist, and aborts the process for some of them. Google Cloud's
pages of each generation (`gramalign.programs.chips`) list those that exist: a few of two
dimensions; of three, a few small ones, and combinations of cubes of 4x4x4 chips.
"""

import os
import re
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

# Without these, the compiler's library looks for local chips: it queries the cloud's metadata
# server, and locks the machine against a second process.
SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

_ONE = "1x1"
_FLAT = [_ONE, "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"]
_SMALL = ["2x2x1", "2x2x2", "2x2x4", "2x4x4"]
_CUBE = 4
# Chips in the largest slice of each three-dimensional generation.
_MOST = {"v4": 4096, "v5p": 6144, "tpu7x": 9216}


def missing() -> str | None:
    """What this machine lacks to compile for TPUs; None: nothing."""
    if find_spec("libtpu") is None:
        return "needs libtpu, on Linux: pip install 'gramalign[tpu]'"
    if not Path("/sys/devices/system/cpu").is_dir():
        return "needs /sys: libtpu counts the processors there, and aborts where it is not mounted"
    return None


def tpu_devices(topology: str) -> list[Any]:
    """The chips of a TPU slice, for ahead-of-time compilation; nothing can run on them.

    Args:
        topology: a generation and the layout of its chips, such as `v5e:4x4`, `v5p:8x8x8`,
            `v6e:16x16`.

    Raises:
        OSError: if libtpu is not installed or cannot start.
        ValueError: for a topology that does not exist.
    """
    if (problem := missing()) is not None:
        raise OSError(f"compiling for TPUs {problem}")
    generation, _, layout = topology.partition(":")
    if not _exists(generation, layout):
        raise _none(topology, f"{generation} comes as {_offered(generation)}")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {}
    if generation == "v4":  # one device to JAX on a TPU; by default, the compiler makes it two
        options["chip_config_name"] = "megacore"
    if layout == _ONE:  # elsewhere a host has four
        options["chips_per_host_bounds"] = [1, 1, 1]
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options)
    except jax.errors.JaxRuntimeError as error:
        raise _none(topology, str(error)) from None
    return list(found.devices)


def _exists(generation: str, layout: str) -> bool:
    """Whether such a slice exists, in any order of its sides."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", layout):
        return False
    sides = layout.split("x")
    few = _SMALL if generation in _MOST else _FLAT
    if sorted(sides) in [sorted(each.split("x")) for each in few]:
        return True
    lengths = [int(side) for side in sides]
    cubes = len(lengths) == 3 and not any(length % _CUBE for length in lengths)
    return cubes and prod(lengths) <= _MOST.get(generation, 0)


def _offered(generation: str) -> str:
    if generation not in _MOST:
        return ", ".join(_FLAT)
    return f"{', '.join(_SMALL)} or multiples of {_CUBE}, up to {_MOST[generation]} chips"


def _none(topology: str, why: str) -> ValueError:
    return ValueError(
        f"no TPU topology {topology!r}; give a generation and a layout, such as v5e:4x4, "
        f"v5p:8x8x8 or v6e:16x16 ({why})"
    )

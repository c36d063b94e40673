"""GPUs to compile for without having them, on any x86 Linux machine.

JAX's CUDA plugin compiles for a GPU from a description of its resources, which NVIDIA's
architecture papers give. This needs no driver, and none of CUDA's libraries.
"""

import re
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from gramalign.programs.chips import CHIPS, MIB

KIB = 2**10
# The libraries that the compiled program would run with: the oldest that JAX supports.
_VERSIONS = "dnn_version_info { major: 9 minor: 12 } runtime_version { major: 13 }"


class _Inside(NamedTuple):
    kind: str
    """What JAX calls the device."""
    capability: tuple[int, int]
    cores: int
    units: int
    """Float32 units in each core."""
    clock: float
    """In GHz."""
    cache: int
    """Bytes that all cores share."""
    shared: int
    """Bytes inside a core, of which a block of threads can use all but 1 KiB."""


GPUS = {
    "a100": _Inside("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 1.41, 40 * MIB, 164 * KIB),
    "h100": _Inside("NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 1.98, 50 * MIB, 228 * KIB),
    "h200": _Inside("NVIDIA H200", (9, 0), 132, 128, 1.98, 50 * MIB, 228 * KIB),
    "b200": _Inside("NVIDIA B200", (10, 0), 148, 128, 1.96, 126 * MIB, 228 * KIB),
}
"""By the name that a topology starts with."""

MOST = 16
"""The most GPUs in a host: some clouds have 16, others 8."""


def missing() -> str | None:
    """What this machine lacks to compile for GPUs; None: nothing."""
    if any(find_spec(f"jax_cuda{version}_plugin") is not None for version in (12, 13)):
        return None
    return (
        "needs JAX's CUDA plugin, on Linux: pip install 'gramalign[cuda]', or only to compile "
        f"pip install jax-cuda13-plugin=={jax.__version__}"
    )


def gpu_devices(topology: str) -> list[Any]:
    """GPUs for ahead-of-time compilation; nothing can run on them.

    Args:
        topology: a generation and the number of GPUs in a host, or of hosts and of GPUs in each,
            such as `h100:8` or `h200:4x8`.

    Raises:
        OSError: where the plugin is not installed or cannot start.
        ValueError: for a topology that does not exist.
    """
    if (problem := missing()) is not None:
        raise OSError(f"compiling for GPUs {problem}")
    generation, _, layout = topology.partition(":")
    if generation not in GPUS or not re.fullmatch(r"([1-9]\d*x)?[1-9]\d*", layout):
        raise ValueError(
            f"no GPU topology {topology!r}: give one of {', '.join(GPUS)} and how many GPUs are in "
            "a host, such as h100:8, or hosts x GPUs in each, such as h200:4x8"
        )
    hosts, _, each = layout.rpartition("x")
    if int(each) > MOST:
        raise ValueError(
            f"{topology!r} has {each} GPUs in a host, which no host has: give hosts x GPUs in "
            f"each, such as {generation}:8x8"
        )
    try:
        found = topologies.get_topology_desc(
            platform="cuda",
            target_config=_described(GPUS[generation]),
            topology=f"1x{hosts or 1}x{each}",
        )
    except RuntimeError as error:  # JAX says that there is no such platform, and has logged why
        raise OSError(f"JAX's CUDA plugin can't start here: {error}") from None
    return list(found.devices)


def _described(gpu: _Inside) -> str:
    """A GPU's description for XLA: a `GpuTargetConfigProto` as text."""
    major, minor = gpu.capability
    return f"""
gpu_device_info {{
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  core_count: {gpu.cores}
  fpus_per_core: {gpu.units}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {CHIPS[gpu.kind].memory}
  memory_bandwidth: {CHIPS[gpu.kind].memory_bandwidth:.0f}
  l2_cache_size: {gpu.cache}
  shared_memory_per_core: {gpu.shared}
  shared_memory_per_block: {48 * KIB}
  shared_memory_per_block_optin: {gpu.shared - KIB}
  registers_per_core_limit: {64 * KIB}
  registers_per_block_limit: {64 * KIB}
  threads_per_core_limit: 2048
  threads_per_block_limit: 1024
  threads_per_warp: 32
  block_dim_limit_x: {2**31 - 1}
  block_dim_limit_y: {2**16 - 1}
  block_dim_limit_z: {2**16 - 1}
}}
platform_name: "CUDA"
device_description_str: "{gpu.kind}"
{_VERSIONS}
"""

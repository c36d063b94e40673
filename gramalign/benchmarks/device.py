"""The devices to measure on: how they are started, and the memory that they report."""

import os

import jax
from jax.extend.backend import clear_backends

# JAX would take three quarters of a GPU's memory at once, and leave torch only the rest.
_GROW = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def start(platform: str | None, threads: int, devices: int) -> str:
    """Starts JAX; on a CPU, with a given number of threads and simulated devices.

    Call it before JAX computes anything.

    Args:
        platform: `cpu`, `cuda`, `rocm` or `tpu`; None: the best that JAX finds.
        threads: on a CPU, for this process and those it starts.
        devices: the least number of devices.

    Returns:
        JAX's name for the platform: `cpu`, `gpu` or `tpu`.

    Raises:
        ValueError: there is no such platform, or it has too few devices.
    """
    for name, value in _GROW.items():
        os.environ.setdefault(name, value)
    if platform is not None:
        # With the CPU as a fallback, as JAX fails on an assertion if it finds no platform at all.
        jax.config.update("jax_platforms", platform if platform == "cpu" else f"{platform},cpu")
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise ValueError(_not_there(platform, str(error).splitlines()[0])) from None
    if platform not in (None, "cpu") and found == "cpu":
        raise ValueError(_not_there(platform))
    if found == "cpu":
        # Threads and devices are counted once, when the CPU backend starts: so start it again.
        clear_backends()
        use_threads(threads)
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)
    if devices > len(jax.devices()):
        raise ValueError(f"--devices is {devices}, but JAX sees {len(jax.devices())} x {found}")
    return found


def _not_there(platform: str | None, why: str = "") -> str:
    said = f" ({why})" if why else ""
    if platform is None:
        return f"JAX finds no device{said}: check JAX_PLATFORMS, or give --platform"
    extra = f": pip install 'gramalign[{platform}]'" if platform in ("cuda", "tpu") else ""
    return (
        f"--platform is {platform}, but JAX finds no such device on this machine{said}. Leave out "
        "--platform for the best that JAX finds; or if there is one, check that its driver works, "
        f"and install JAX for it{extra}"
    )


def use_threads(count: int) -> None:
    """Limits this process, and those it starts, to `count` threads of computation."""
    os.environ["NPROC"] = str(count)
    if hasattr(os, "sched_setaffinity"):  # Linux: then no thread can run anywhere else either
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def peak_bytes() -> int | None:
    """Peak memory in use on the first device; None if the device does not report it."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

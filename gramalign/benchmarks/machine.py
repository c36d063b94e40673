"""Where, when and with which software figures were measured."""

import datetime
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import jax

from gramalign.training.environment import git_revision, version_of

_PACKAGES = ("gramalign", "jax", "jaxlib", "numpy", "torch")


def machine(threads: int) -> dict[str, Any]:
    """Describes this machine and process, as JSON-compatible values."""
    devices = jax.devices()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "git": git_revision(Path(__file__)),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "device_count": len(devices),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in _PACKAGES},
    }


def in_words(found: dict[str, Any]) -> str:
    """The same as lines below the tables: the machine, whose name may be long, and the rest."""
    versions = found["versions"]
    where = f"{found['processor']}, {found['threads']} of {found['cpu_count']} CPUs"
    if found["backend"] != "cpu":
        where = f"{found['device_count']} x {found['device']}"
    return (
        f"{where}\nPython {found['python']}, jax {versions['jax']}, torch {versions['torch']}, "
        f"{found['date']}"
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

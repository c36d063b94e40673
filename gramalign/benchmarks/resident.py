"""Computes one loss with its gradient and prints the peak memory of this process, as JSON.

    python -m gramalign.benchmarks.resident gram 8192 4 512        (method, batch, modalities, dim)

A program of its own, because a process's peak never falls: `gramalign bench` starts it anew for
every figure.
"""

import json
import resource
import sys
from pathlib import Path
from typing import cast

import jax
import numpy as np

from gramalign.benchmarks.steps import made_up_for, step
from gramalign.benchmarks.workload import Method, Way
from gramalign.contrast import Engine


def peak_bytes() -> int:
    """Peak memory of this process.

    From /proc if it exists: on Linux, `getrusage` of a new process starts from the peak of the
    process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(method: Method, batch: int, modalities: int, dim: int) -> None:
    """Prints one line of JSON; returns status 1 if the results are not finite."""
    embeddings = jax.device_put(made_up_for(method, batch, modalities, dim))
    before = peak_bytes()
    loss, gradients = jax.block_until_ready(step(method, Way(Engine().tile_size()))(embeddings))
    after = peak_bytes()
    finite = all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients.values())
    if not (finite and np.isfinite(float(loss))):
        sys.exit(f"{method} at B = {batch} is not finite: loss {float(loss)}")
    print(json.dumps({"peak_bytes": after, "before_bytes": before, "loss": float(loss)}))


if __name__ == "__main__":
    named, *numbers = sys.argv[1:]
    main(cast(Method, named), *map(int, numbers))

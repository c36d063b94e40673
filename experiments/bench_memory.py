"""Memory of loss and gradient: what the compiler reserves, what a new process takes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from .bench_steps import names, step


def compiled_bytes(objective: str, batch: int, modalities: int, dim: int) -> int:
    """Temporary memory of the compiled loss and gradient, beyond embeddings and gradients.

    Only compiles: nothing of that size is ever allocated.
    """
    shape = jax.ShapeDtypeStruct((batch, dim), jnp.float32)
    compiled = step(objective).lower(dict.fromkeys(names(modalities), shape)).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise RuntimeError(f"{jax.default_backend()} does not tell how much memory it reserves")
    return analysis.temp_size_in_bytes


def growth(
    objective: str,
    batches: tuple[int, ...],
    modalities: int,
    dim: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Temporary memory at each batch size, and its growth relative to the batch's.

    Growth 1.0 is linear; a loss that holds the score matrix has the quotient of the batch sizes.
    """
    sizes = []
    for batch in batches:
        say(f"compiling {objective}, B = {batch}")
        sizes.append(compiled_bytes(objective, batch, modalities, dim))
    relative = [
        (sizes[i + 1] / sizes[i]) / (batches[i + 1] / batches[i]) for i in range(len(sizes) - 1)
    ]
    return {
        "objective": objective,
        "modalities": modalities,
        "dim": dim,
        "batches": list(batches),
        "temporary_bytes": sizes,
        "growth_over_linear": relative,
    }


def resident(objective: str, batch: int, modalities: int, dim: int) -> dict[str, Any]:
    """Peak resident memory of a new process that computes loss and gradient once.

    Returns:
        `peak_bytes` with everything (interpreter, libraries, compilation), `before_bytes` before
        the step was compiled, and the loss.

    Raises:
        RuntimeError: the process failed, for instance because it ran out of memory.
    """
    module = f"{__package__}.bench_resident"
    numbers = [str(number) for number in (batch, modalities, dim)]
    done = subprocess.run(
        [sys.executable, "-m", module, objective, *numbers],
        cwd=Path(__file__).resolve().parents[module.count(".")],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"the process for {objective} at B = {batch} ended with status {done.returncode}:\n"
            f"{done.stderr}"
        )
    return {
        "objective": objective,
        "batch": batch,
        "modalities": modalities,
        "dim": dim,
        **json.loads(done.stdout.splitlines()[-1]),
    }

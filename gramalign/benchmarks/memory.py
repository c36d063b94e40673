"""Memory of loss and gradient: what the compiler reserves, and what a new process takes."""

from itertools import pairwise
from typing import Any

import jax

from gramalign.benchmarks.process import in_new_process
from gramalign.benchmarks.rounds import OUT_OF_MEMORY, Failed, attempt
from gramalign.benchmarks.steps import inputs, step
from gramalign.benchmarks.workload import DType, Method, Way
from gramalign.programs.memory import memory
from gramalign.types import Say


def compiled_bytes(
    method: Method, batch: int, modalities: int, dim: int, dtype: DType, tile: int
) -> int | None:
    """Temporary memory of the compiled loss and gradient, beyond embeddings and gradients.

    Only compiles: nothing of that size is ever allocated. None if the compiler finds that it does
    not fit the device.

    Raises:
        RuntimeError: the compiler fails otherwise.
        ValueError: the compiler does not report it.
    """
    shapes = dict.fromkeys(inputs(method, modalities), jax.ShapeDtypeStruct((batch, dim), dtype))
    compiled = attempt(lambda: step(method, Way(tile)).lower(shapes).compile())
    if isinstance(compiled, Failed):
        if compiled.why == OUT_OF_MEMORY:
            return None
        raise RuntimeError(f"{method}, B = {batch}: {compiled.why}")
    return memory(compiled).temporary


def growth(
    method: Method,
    batches: tuple[int, ...],
    modalities: int,
    dim: int,
    dtype: DType,
    tile: int,
    say: Say,
) -> dict[str, Any]:
    """Temporary memory at each batch size, and its growth relative to the batch's.

    Growth 1.0 is linear; for a loss that holds the score matrix it is the ratio of the batch sizes.
    """
    sizes = []
    for batch in batches:
        say(f"compiling {method}, B = {batch}")
        sizes.append(compiled_bytes(method, batch, modalities, dim, dtype, tile))
    relative = [
        (larger / smaller) / (batches[i + 1] / batches[i]) if smaller and larger else None
        for i, (smaller, larger) in enumerate(pairwise(sizes))
    ]
    return {
        "method": method,
        "modalities": modalities,
        "dim": dim,
        "dtype": dtype,
        "tile": tile,
        "batches": list(batches),
        "temporary_bytes": sizes,
        "growth_over_linear": relative,
    }


def resident(method: str, batch: int, modalities: int, dim: int) -> dict[str, Any]:
    """Peak resident memory of a new process that computes loss and gradient once.

    Returns:
        `peak_bytes` including everything (interpreter, libraries, compilation), `before_bytes`
        before the step was compiled, and the loss.

    Raises:
        ChildProcessError: the process failed, for instance because it ran out of memory.
    """
    return {
        "method": method,
        "batch": batch,
        "modalities": modalities,
        "dim": dim,
        **in_new_process("resident", method, batch, modalities, dim),
    }

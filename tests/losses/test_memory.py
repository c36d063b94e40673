"""Memory of every loss with its gradient, compiled and never run: linear in the batch."""

import jax
import jax.numpy as jnp
import pytest

from tests import every_loss

DIM = 64
ALIKE = {"gram, squared", "gram, log", "gram, root", "triangle, as released", "distance"}
"""Those of which another row of the table says as much."""


def temporary_bytes(name, size):
    """What value and gradient need besides arguments and results.

    Where no third modality is needed there is none, and machine code is not optimised, which takes
    half of the time and does not change what memory is laid out.
    """
    names = "abc" if name in every_loss.EXACTLY_THREE else "ab"
    embeddings = dict.fromkeys(names, jax.ShapeDtypeStruct((size, DIM), jnp.float32))
    groups = jax.ShapeDtypeStruct((size,), jnp.int32)

    def total(embeddings, groups):
        return every_loss.weighted(name, embeddings, 0.1, groups=groups)[0]

    lowered = jax.jit(jax.value_and_grad(total)).lower(embeddings, groups)
    compiled = lowered.compile({"xla_backend_optimization_level": 0})
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", [name for name in every_loss.EVERY if name not in ALIKE])
def test_twice_the_batch_takes_twice_the_memory(name):
    half, whole = (temporary_bytes(name, size) for size in (16384, 32768))
    assert whole / half <= 2.2, (half, whole)
    assert whole < 4 * 32768**2 / 8, "less than an eighth of one score matrix"

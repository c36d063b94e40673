"""Memory of the compiled loss and gradient grows with the batch, not with its square."""

import jax
import jax.numpy as jnp
import pytest

from tests import contrast_engine as engine
from tests.every_score import SCORES

SIZES = (8192, 16384, 32768)


def temporary_bytes(name, size):
    """What the program needs besides arguments and results; nothing is run."""
    shape = jax.ShapeDtypeStruct((size, 64), jnp.float32)

    def mean(embeddings):
        return engine.losses(name, embeddings, 10.0, None, None).mean()

    lowered = jax.jit(jax.value_and_grad(mean)).lower(dict.fromkeys("abc", shape))
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", SCORES)
def test_linear_in_the_batch(name):
    found = [temporary_bytes(name, size) for size in SIZES]
    assert found[1] / found[0] <= 2.2 and found[2] / found[1] <= 2.2, found
    assert found[2] < 4 * SIZES[2] ** 2 / 8, "less than an eighth of one score matrix"

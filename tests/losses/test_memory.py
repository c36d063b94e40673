"""Memory of losses with their gradients, compiled and never run: linear in the batch.

Of every way to compute one; none of the others holds more of its Score than the engine does.
"""

from functools import cache

import jax
import jax.numpy as jnp
import pytest

from tests import every_loss

DIM, SIZE = 64, 32768
NOT_CONTRAST_OF_A_SCORE = [
    *("pmrl", "alignment", "uniformity", "modality gap", "separation"),
    *("symile", "consistency", "vicreg"),
]


@cache
def temporary_bytes(name, size):
    """What value and gradient need besides arguments and results."""
    row = jax.ShapeDtypeStruct((size, DIM), jnp.float32)
    groups = jax.ShapeDtypeStruct((size,), jnp.int32)

    def total(embeddings, groups):
        return every_loss.weighted(name, embeddings, 0.1, groups=groups)[0]

    derivative = jax.jit(jax.value_and_grad(total))
    lowered = derivative.lower(dict.fromkeys(every_loss.modalities_of(name), row), groups)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_it_is_less_than_an_eighth_of_one_score_matrix(name):
    assert temporary_bytes(name, SIZE) < 4 * SIZE**2 / 8


@pytest.mark.parametrize("name", ["gram", "siglip", "symile"])
def test_it_is_in_a_loop_too(name):
    """Where what does not change, such as which pairs compete, is known before the loop."""
    row = jax.ShapeDtypeStruct((SIZE, DIM), jnp.float32)

    def total(embeddings, temperatures):
        def of_one(temperature):
            return every_loss.weighted(name, embeddings, temperature)[0]

        return jnp.sum(jax.lax.map(of_one, temperatures))

    arguments = dict.fromkeys(every_loss.modalities_of(name), row), jnp.ones(3)
    program = jax.jit(jax.grad(total)).lower(*arguments).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4 * SIZE**2 / 8


@pytest.mark.parametrize("name", NOT_CONTRAST_OF_A_SCORE)
def test_twice_the_batch_takes_twice_of_it(name):
    assert temporary_bytes(name, SIZE) <= 2.2 * temporary_bytes(name, SIZE // 2)

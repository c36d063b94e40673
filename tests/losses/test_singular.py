"""Losses and their gradients are finite where the geometry degenerates, however cold they are.

Of every way to compute one; the Scores are tested by themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import every_loss, samples

BATCH, DIM = 4, 8
CASES = samples.degenerate_batches(BATCH, DIM)


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_values_and_gradients_are_finite(name):
    def total(x, temperature):
        embeddings = dict(zip("abc", x, strict=True))
        return every_loss.weighted(name, embeddings, temperature, groups=jnp.array([0, 1, 2, 0]))

    derivative = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    mapped = jax.jit(jax.vmap(derivative, in_axes=(0, None)))
    stacked = jnp.asarray(np.stack(list(CASES.values())), jnp.float32)
    for temperature in (0.07, 0.001):
        (_, values), gradients = mapped(stacked, jnp.float32(temperature))
        for i, case in enumerate(CASES):
            assert np.isfinite(values[i]).all(), (case, temperature)
            assert all(np.isfinite(x[i]).all() for x in gradients), (case, temperature)

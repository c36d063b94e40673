"""Every Score's values and gradients are finite where its geometry degenerates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import samples
from tests.every_score import SCORES, tile_of


@jax.jit
def everything(stacked):
    def one(score, x):
        def total(x):
            embeddings = dict(zip("abc", x, strict=True))
            tile = tile_of(score, embeddings)
            # Not a plain sum, of whose derivative symmetry might cancel what is not finite.
            weights = jnp.arange(1.0, 1 + tile.size).reshape(tile.shape)
            return jnp.vdot(tile, weights) + score.matched(embeddings).sum(), tile

        return jax.value_and_grad(total, has_aux=True)(x)

    return {name: jax.vmap(lambda x, s=s: one(s, x))(stacked) for name, s in SCORES.items()}


@pytest.mark.parametrize("name", SCORES)
def test_tiles_and_their_gradients_are_finite(name):
    cases = samples.degenerate_batches(4, 8)
    stacked = np.stack(list(cases.values())).astype(np.float32)
    (values, tiles), gradients = everything(jnp.asarray(stacked))[name]
    for i, case in enumerate(cases):
        assert np.isfinite(values[i]) and np.isfinite(tiles[i]).all(), case
        assert np.abs(gradients[i]).max() < 1e4, case

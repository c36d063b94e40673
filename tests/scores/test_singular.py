"""Every Score's values and gradients are finite where its geometry degenerates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import samples
from tests.every_score import SCORES

BATCH, DIM = 4, 8


def cases():
    """Stacked embeddings [3, batch, dim] whose every example degenerates in the same way."""
    rng = np.random.default_rng(0)
    one, generic = samples.unit(rng, BATCH, DIM), samples.unit(rng, 3, BATCH, DIM)
    orthonormal = np.stack([samples.orthonormal(rng, 3, DIM) for _ in range(BATCH)], axis=1)
    return {
        "identical everywhere": np.broadcast_to(one[0], (3, BATCH, DIM)),
        "aligned": np.broadcast_to(one, (3, BATCH, DIM)),
        "antiparallel": np.array([1, -1, 1])[:, None, None] * one,
        "others alike": generic[[0, 1, 1]],
        "others opposite": np.stack([generic[0], generic[1], -generic[1]]),
        "anchor among the others": generic[[0, 0, 1]],
        "orthonormal": orthonormal,
        "one basis for all": np.broadcast_to(orthonormal[:, :1], (3, BATCH, DIM)),
        "zero anchor": generic * np.array([0, 1, 1])[:, None, None],
        "zero other": generic * np.array([1, 0, 1])[:, None, None],
        "zero": np.zeros((3, BATCH, DIM)),
    }


@jax.jit
def everything(stacked):
    def one(score, x):
        def total(x):
            embeddings = dict(zip("abc", x, strict=True))
            tile = score.tile(score.rows(embeddings).factors, score.cols(embeddings).factors)
            # Not a plain sum, of whose derivative symmetry might cancel what is not finite.
            weights = jnp.arange(1.0, 1 + tile.size).reshape(tile.shape)
            return jnp.vdot(tile, weights) + score.matched(embeddings).sum(), tile

        return jax.value_and_grad(total, has_aux=True)(x)

    return {name: jax.vmap(lambda x, s=s: one(s, x))(stacked) for name, s in SCORES.items()}


@pytest.mark.parametrize("name", SCORES)
def test_tiles_and_their_gradients_are_finite(name):
    stacked = np.stack(list(cases().values())).astype(np.float32)
    (values, tiles), gradients = everything(jnp.asarray(stacked))[name]
    for i, case in enumerate(cases()):
        assert np.isfinite(values[i]) and np.isfinite(tiles[i]).all(), case
        assert np.abs(gradients[i]).max() < 1e4, case

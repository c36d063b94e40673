"""Every Score's values and gradients are finite where its geometry degenerates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import samples
from tests.every_score import MAIN, SCORES


def weighted(tile):
    """Not a plain sum, of whose derivative symmetry might cancel what is not finite."""
    return jnp.vdot(tile, jnp.arange(1.0, 1 + tile.size).reshape(tile.shape))


def by_embeddings(score, x):
    """Values, and derivatives by embeddings."""

    def total(x):
        embeddings = dict(zip("abc", x, strict=True))
        tile = score.tile(score.rows(embeddings).factors, score.cols(embeddings).factors)
        return weighted(tile) + score.matched(embeddings).sum(), tile

    (value, tile), slopes = jax.value_and_grad(total, has_aux=True)(x)
    return (value, tile), slopes


def by_factors(score, x):
    """Values, and derivatives of tiles by factors, which are those of another Score in MAIN."""
    embeddings = dict(zip("abc", x, strict=True))
    factors = score.rows(embeddings).factors, score.cols(embeddings).factors

    def total(factors):
        tile = score.tile(*factors)
        return weighted(tile), tile

    (value, tile), slopes = jax.value_and_grad(total, has_aux=True)(factors)
    matched = jax.value_and_grad(lambda x: score.matched(dict(zip("abc", x, strict=True))).sum())
    return (value, tile), (slopes, *matched(x))


@jax.jit
def everything(stacked):
    return {
        name: jax.vmap(lambda x, s=s, of=by_embeddings if name in MAIN else by_factors: of(s, x))(
            stacked
        )
        for name, s in SCORES.items()
    }


@pytest.mark.parametrize("name", SCORES)
def test_tiles_and_their_gradients_are_finite(name):
    cases = samples.degenerate_batches(4, 8)
    stacked = np.stack(list(cases.values())).astype(np.float32)
    values, slopes = everything(jnp.asarray(stacked))[name]
    for i, case in enumerate(cases):
        assert all(np.isfinite(x[i]).all() for x in jax.tree.leaves(values)), case
        assert all(np.abs(x[i]).max() < 1e4 for x in jax.tree.leaves(slopes)), case

"""A symmetric score's rows against themselves: the same loss as with the columns spelt out."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, contrast
from tests import contrast_engine
from tests.every_score import SCORES


@cache
def derivatives(name, tile):
    score = SCORES[name]

    def weighted(embeddings, scale, weights, present, groups, mirrored):
        side = score.rows(embeddings, present)
        values = contrast(
            score,
            side,
            None if mirrored else side,
            score.matched(embeddings, present),
            scale=scale,
            label_smoothing=0.1,
            groups=groups,
            engine=Engine(tile=tile),
        )
        return jnp.vdot(values, weights), values

    def both(*arguments):
        derivative = jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)
        return derivative(*arguments, True), derivative(*arguments, False)

    return jax.jit(both)


@pytest.mark.parametrize(("name", "tile"), [("direction squared", 1024), ("direction", 5)])
@pytest.mark.parametrize("kind", ["plain", "masked grouped"])
def test_values_and_gradients(name, tile, kind, x64):
    arguments = jax.tree.map(jnp.asarray, contrast_engine.batch(kind))
    found, exact = derivatives(name, tile)(*arguments)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), found, exact)
    assert np.abs(exact[1][1]) > 1e-3


def test_its_second_product_is_saved():
    """Of the products of the backward pass only the one for the rows is left."""
    score = SCORES["direction"]

    def flops(mirrored):
        def mean(directions):
            side = score.rows({"a": directions, "b": directions})
            cols = None if mirrored else side
            return contrast(score, side, cols, jnp.ones(len(directions)), scale=10.0).mean()

        lowered = jax.jit(jax.grad(mean)).lower(jax.ShapeDtypeStruct((512, 256), jnp.float32))
        return lowered.compile().cost_analysis()["flops"]

    product = 2 * 512 * 512 * 256
    assert flops(mirrored=False) - flops(mirrored=True) > 0.9 * product

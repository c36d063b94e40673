"""The engine equals the dense formula, values and gradients: every Score, tile, mask and group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine
from tests import contrast_engine as engine
from tests.every_score import MAIN

KINDS = ["plain", "masked", "grouped", "masked and grouped"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MAIN)
def test_every_score_in_ragged_tiles(name, kind, x64):
    engine.check(name, 6, kind, np.float64, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["supervised", "sigmoid"])
def test_every_loss_in_ragged_tiles(loss, kind, x64):
    engine.check("cosine of two", 6, kind, np.float64, 1e-9, loss)


@pytest.mark.parametrize("tile", [1, 4, 15, 1024])
def test_every_tile_size(tile, x64):
    """One by one, evenly cut, ragged by one, larger than the batch."""
    engine.check("cosine of two", tile, "masked and grouped", np.float64, 1e-9)


def test_eager_and_mapped_equal_compiled():
    arguments = jax.tree.map(jnp.asarray, engine.batch("masked and grouped", np.float32))
    factors, scale, _, valid, matched, groups = engine.given("cosine of two", *arguments)

    def values(factors, matched):
        how = Engine(tile=6)
        return engine.losses_of("cosine of two", factors, scale, valid, matched, groups, engine=how)

    eager, compiled = values(factors, matched), jax.jit(values)
    np.testing.assert_allclose(compiled(factors, matched), eager, atol=1e-5)
    turned = jax.tree.map(lambda x: x[::-1], (factors, matched))
    both = jax.tree.map(lambda x, y: jnp.stack([x, y]), (factors, matched), turned)
    mapped = jax.jit(jax.vmap(values))(*both)
    np.testing.assert_allclose(mapped[0], eager, atol=1e-5)
    np.testing.assert_allclose(mapped[1], compiled(*turned), atol=1e-5)

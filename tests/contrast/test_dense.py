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
@pytest.mark.parametrize("name", [*MAIN, "mixed"])
def test_every_score_in_ragged_tiles(name, kind, x64):
    engine.check(name, 6, kind, np.float64, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["supervised", "sigmoid"])
def test_every_loss_in_ragged_tiles(loss, kind, x64):
    engine.check("cosine of two", 6, kind, np.float64, 1e-9, loss)


@pytest.mark.parametrize("tile", [1, 4, 15, 16, 100])
def test_every_tile_size(tile, x64):
    """One by one, evenly cut, ragged by one, whole, larger than the batch."""
    engine.check("cosine of two", tile, "masked and grouped", np.float64, 1e-9)


def test_eager_and_mapped_equal_compiled():
    embeddings, scale, _, present, groups = jax.tree.map(
        jnp.asarray, engine.batch("masked and grouped", np.float32)
    )

    def values(embeddings):
        return engine.losses(
            "cosine of two", embeddings, scale, present, groups, engine=Engine(tile=6)
        )

    eager, compiled = values(embeddings), jax.jit(values)
    np.testing.assert_allclose(compiled(embeddings), eager, atol=1e-5)
    both = {m: jnp.stack([x, x[::-1]]) for m, x in embeddings.items()}
    mapped = jax.jit(jax.vmap(values))(both)
    np.testing.assert_allclose(mapped[0], eager, atol=1e-5)
    turned = compiled({m: x[::-1] for m, x in embeddings.items()})
    np.testing.assert_allclose(mapped[1], turned, atol=1e-5)

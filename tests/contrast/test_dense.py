"""The engine equals the dense formula, values and gradients: every Score, tile, mask and group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import contrast_engine as engine
from tests.every_score import SCORES

KINDS = ["plain", "masked", "grouped", "masked and grouped"]


def check(name, tile, kind, dtype, tolerance):
    embeddings, scale, weights, present, groups = engine.batch(kind, dtype)
    with jax.enable_x64(dtype == np.float64):
        arguments = jax.tree.map(jnp.asarray, (embeddings, scale, weights, present, groups))
        (_, values), (by_modality, by_scale) = engine.derivative(name, tile)(*arguments)
    exact = engine.dense(name, embeddings, scale, present, groups)
    np.testing.assert_allclose(values, exact, atol=tolerance)
    assert values.dtype == by_scale.dtype == dtype
    steps = engine.directions(4)
    slopes = engine.dense_slopes(name, embeddings, scale, weights, present, groups, steps)
    for step, slope in zip(steps, slopes, strict=True):
        found = sum(np.vdot(by_modality[m], step[m]) for m in embeddings) + by_scale * step["scale"]
        np.testing.assert_allclose(found, slope, atol=100 * tolerance)
    for m, mask in present.items():
        np.testing.assert_array_equal(by_modality[m][~mask], 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCORES)
def test_every_score_with_ragged_tiles(name, kind):
    check(name, 6, kind, np.float64, 1e-9)


@pytest.mark.parametrize("tile", [1, 5, 15, 16, 100, None])
def test_every_tile_size(tile):
    """One by one, evenly cut, ragged by one, whole, larger than the batch, the default."""
    check("volume", tile, "masked and grouped", np.float64, 1e-9)


@pytest.mark.parametrize("name", ["volume", "spectral"])
def test_float32(name):
    check(name, 6, "masked and grouped", np.float32, 2e-5)


def test_eager_and_mapped_equal_compiled():
    embeddings, scale, weights, present, groups = jax.tree.map(
        jnp.asarray, engine.batch("masked and grouped", np.float32)
    )
    name = "cosine of two"

    def values(embeddings):
        return engine.losses(name, embeddings, scale, present, groups, tile=6)

    both = {m: jnp.stack([x, x[::-1]]) for m, x in embeddings.items()}
    mapped = jax.jit(jax.vmap(values))(both)
    for i, turn in enumerate((1, -1)):
        turned = {m: x[::turn] for m, x in embeddings.items()}
        (_, found), _ = engine.derivative(name, 6)(turned, scale, weights, present, groups)
        np.testing.assert_allclose(mapped[i], found, atol=1e-5)
    np.testing.assert_allclose(values(embeddings), mapped[0], atol=1e-5)

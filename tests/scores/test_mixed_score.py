"""What is special to a mixture: its weights are data, which have derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, contrast
from gramalign.scores import CosineScore, MixedScore, SimplexScore
from tests import reference, samples

PARTS = SimplexScore("a"), CosineScore("a", "b")
MIXED = MixedScore(PARTS, (1.0, 0.0))
BATCH = 7


def batch(dtype=np.float64):
    rng = np.random.default_rng(0)
    return samples.embeddings(rng, BATCH, 6, dtype=dtype), rng.uniform(0.5, 1.5, size=BATCH)


def weighted(embeddings, weights):
    rows = MIXED.rows(embeddings, weights=weights)
    return rows, MIXED.cols(embeddings), MIXED.matched(embeddings, weights=weights)


def test_weights_that_are_learned(x64):
    """Values and derivative of a loss, from rows to columns through tiles of any size."""
    x, per_example = batch()
    parts = reference.simplex_scores(x, None, "a"), reference.cosine_scores(x, None, "a", "b")

    def exact(weights):
        mixed = sum(w * part for w, part in zip(weights, parts, strict=True))
        return per_example @ reference.contrast(mixed, scale=5.0)

    @jax.jit
    @jax.value_and_grad
    def found(weights):
        losses = contrast(
            MIXED, *weighted(samples.as_jax(x), weights), scale=5.0, engine=Engine(tile=3)
        )
        return jnp.vdot(losses, per_example)

    weights = 0.7, 0.4
    value, slopes = found(tuple(map(jnp.asarray, weights)))
    np.testing.assert_allclose(value, exact(weights), rtol=1e-10)
    for slope, along in zip(slopes, np.eye(2), strict=True):
        wanted = reference.directional_derivative(exact, weights, along)
        np.testing.assert_allclose(slope, wanted, rtol=1e-7)


@pytest.mark.parametrize("weights", [(0.3, -2.0), None])
def test_weights_that_are_numbers(weights):
    x = batch(np.float32)[0]

    @jax.jit
    def both(x):
        rows, cols, matched = weighted(x, weights)
        return MIXED.tile(rows.factors, cols.factors), matched

    tile, matched = both(samples.as_jax(x))
    parts = reference.simplex_scores(x, None, "a"), reference.cosine_scores(x, None, "a", "b")
    exact = sum(w * part for w, part in zip(weights or MIXED.weights, parts, strict=True))
    np.testing.assert_allclose(tile, exact, atol=1e-5)
    np.testing.assert_allclose(matched, np.diag(exact), atol=1e-5)


def test_who_takes_part_does_so_under_all_of_them():
    x, have = samples.as_jax(batch(np.float32)[0]), jnp.arange(BATCH) < 4
    mixed, simplex = (
        jax.jit(lambda have, s=score: s.cols(x, {"b": have}).valid) for score in (MIXED, PARTS[0])
    )
    np.testing.assert_array_equal(mixed(have), have)
    assert np.all(simplex(have))


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_numbers_of_weights(weights):
    message = (
        f"scores and weights must be equal in number, at least one each, got 2 and {len(weights)}"
    )
    with pytest.raises(ValueError, match=message):
        MixedScore(PARTS, weights)
    x = samples.as_jax(batch(np.float32)[0])
    for method in (MIXED.rows, MIXED.matched):
        with pytest.raises(ValueError, match=f"one for each of 2 Scores, got {len(weights)}"):
            method(x, weights=weights)


def test_no_scores():
    with pytest.raises(ValueError, match="at least one each, got 0 and 0"):
        MixedScore((), ())

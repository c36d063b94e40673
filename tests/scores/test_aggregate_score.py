"""What is special to weighted others: limits of the weights' temperature, others that cancel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import AggregateScore, CosineScore
from tests import samples
from tests.every_score import both, tile_of

BATCH, DIM = 8, 16


def embeddings_of(names):
    return samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, DIM, names))


def test_one_other_has_all_the_weight():
    x = embeddings_of("ab")
    for found, exact in zip(
        both(AggregateScore("a"), x), both(CosineScore("a", "b"), x), strict=True
    ):
        np.testing.assert_allclose(found, exact, atol=1e-6)


def test_warm_weights_are_equal():
    x = embeddings_of("abcd")
    for found, exact in zip(
        both(AggregateScore("a", 1e6), x), both(CosineScore("a"), x), strict=True
    ):
        np.testing.assert_allclose(found, exact, atol=2e-6)


def test_cold_weights_are_the_best_modality_s():
    x = embeddings_of("abcd")
    best = np.max([both(CosineScore("a", other), x)[0] for other in "bcd"], axis=0)
    tile, matched = both(AggregateScore("a", 1e-4), x)
    np.testing.assert_allclose(tile, best, atol=1e-5)
    np.testing.assert_allclose(matched, np.diag(best), atol=1e-5)


def test_a_modality_that_fits_nothing_is_weighted_away():
    """The blind spot: with two good ones it costs a ten-thousandth, with its weight unlearned."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 2 * BATCH, DIM, np.float32))
    good, stray = basis[:BATCH], basis[BATCH:]
    _, matched = both(AggregateScore("a"), {"a": good, "b": good, "c": stray})
    np.testing.assert_allclose(matched, 1, atol=1e-4)


def test_opposite_others():
    """Their sum is along the one that the anchor is nearer to; where it vanishes the score is 0."""
    x = embeddings_of("ab")
    tile, matched = both(AggregateScore("a"), x | {"c": -x["b"]})
    cosines, _ = both(CosineScore("a", "b"), x)
    np.testing.assert_allclose(tile, np.abs(cosines), atol=1e-4)
    np.testing.assert_allclose(matched, np.abs(np.diag(cosines)), atol=1e-4)


def test_others_that_cancel():
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, DIM, np.float32))
    x = {"a": basis[:2], "b": basis[2:], "c": -basis[2:]}
    score = AggregateScore("a")
    for found in both(score, x):
        np.testing.assert_array_equal(found, 0)

    def total(x):
        weights = jnp.arange(1.0, 5).reshape(2, 2)
        return jnp.vdot(tile_of(score, x), weights) + score.matched(x).sum()

    for rows in jax.jit(jax.grad(total))(x).values():
        np.testing.assert_array_equal(rows, 0)


def test_an_anchor_without_others_scores_0():
    x, score = embeddings_of("abc"), AggregateScore("a")
    present = {m: jnp.arange(BATCH) % 2 == 0 for m in "bc"}

    def total(x):
        return score.matched(x, present).sum(), score.matched(x, present)

    slopes, matched = jax.jit(jax.grad(total, has_aux=True))(x)
    np.testing.assert_array_equal(matched[1::2], 0)
    assert all(jnp.isfinite(slope).all() for slope in slopes.values())


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan")])
def test_what_is_no_temperature(temperature):
    with pytest.raises(ValueError, match=f"weight_temperature must be positive, got {temperature}"):
        AggregateScore("a", temperature)

"""What is special to the simplex: TRIANGLE's area, edges, digits of matched tuples, blind spots."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.programs.flops import matmul_flops
from gramalign.scores import SimplexScore
from tests import reference, samples
from tests.every_score import both

BATCH, DIM = 8, 16
PLAIN, SQUARED = SimplexScore("a"), SimplexScore("a", squared=True)


@jax.jit
def all_four(embeddings, present):
    return both(PLAIN, embeddings, present), both(SQUARED, embeddings, present)


def scores(embeddings, present=None):
    """Tile and matched scores, those of the squares last."""
    have = {name: np.ones(BATCH, bool) for name in embeddings} | (present or {})
    return jax.tree.map(np.asarray, all_four(samples.as_jax(embeddings), samples.as_jax(have)))


def random_tuples(k, dtype=np.float32):
    vectors = samples.unit(np.random.default_rng(k), k, BATCH, DIM, dtype=dtype)
    return dict(zip("abcd"[:k], vectors, strict=True))


def test_three_corners_are_a_triangle(x64):
    x = random_tuples(3, np.float64)
    area = reference.triangle(x["a"][:, None], x["b"][None], x["c"][None])
    (tile, matched), (tile_squared, matched_squared) = scores(x)
    np.testing.assert_allclose(tile, -area, rtol=1e-10)
    np.testing.assert_allclose(matched, -np.diag(area), rtol=1e-10)
    np.testing.assert_allclose(tile_squared, -(area**2), rtol=1e-10)
    np.testing.assert_allclose(matched_squared, -np.diag(area**2), rtol=1e-10)


def test_two_corners_are_an_edge():
    x = random_tuples(2)
    edge = np.linalg.norm(x["a"][:, None] - x["b"][None], axis=-1)
    (tile, matched), _ = scores(x)
    np.testing.assert_allclose(tile, -edge, rtol=1e-5)
    np.testing.assert_allclose(matched, -np.diag(edge), rtol=1e-6)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_matched_scores_keep_their_digits(distance):
    rng = np.random.default_rng(0)
    tuples = samples.close(rng, BATCH, 3, DIM, distance, np.float32)
    (tile, matched), _ = scores(samples.by_name(tuples))
    exact = np.array([reference.simplex(corners) for corners in tuples])
    np.testing.assert_allclose(matched, -exact, rtol=2e-6)
    if distance <= 1e-4:
        assert np.max(np.abs(np.diag(tile) / exact + 1)) > 0.1, "tiles have lost them"


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("places", [(0, 1), (0, 2), (1, 2)])
def test_two_that_are_close_keep_their_digits_far_from_the_third(distance, places):
    rng = np.random.default_rng(0)
    one, other = places
    tuples = samples.unit(rng, BATCH, 3, DIM)
    tuples[:, other] = tuples[:, one] + distance * tuples[:, other]
    tuples = tuples.astype(np.float32)
    (_, matched), _ = scores(samples.by_name(tuples))
    exact = np.array([reference.simplex(corners) for corners in tuples])
    np.testing.assert_allclose(matched, -exact, rtol=2e-6)


def assert_flat(found):
    (tile, matched), (_, matched_squared) = found
    np.testing.assert_array_equal(matched, 0)
    np.testing.assert_array_equal(matched_squared, 0)
    # A root of noise is a thousandfold noise; what is below the noise has to be 0.
    np.testing.assert_allclose(tile, 0, atol=2e-3)
    assert np.mean(tile == 0) >= 0.5


def test_points_on_a_line_have_no_area():
    """Numbers that floats hold exactly, so that the differences are parallel, not nearly so."""
    rng = np.random.default_rng(0)
    x, u = rng.integers(-64, 64, size=(2, DIM)) / 256
    line = np.float32([x, x + u, x - 2 * u])[:, None]
    assert_flat(scores(dict(zip("abc", np.broadcast_to(line, (3, BATCH, DIM)), strict=True))))


def test_two_equal_others_fit_every_anchor():
    x = random_tuples(3)
    for found in scores(x | {"c": x["b"]}):
        for score in found:
            np.testing.assert_array_equal(score, 0)


def test_an_anchor_equal_to_one_of_the_others_fits_whatever_the_third():
    x = random_tuples(3)
    x["a"] = x["b"] = np.broadcast_to(x["b"][:1], x["b"].shape)
    assert_flat(scores(x))


def test_signs_are_seen():
    x = random_tuples(3)
    (tile, matched), _ = scores(x)
    (flipped_tile, flipped), _ = scores(x | {"a": -x["a"]})
    assert np.all(np.abs(flipped - matched) > 1e-3)
    assert np.mean(np.abs(flipped_tile - tile) > 1e-3) > 0.9
    opposite = {"a": x["a"], "b": -x["a"]}
    np.testing.assert_allclose(scores(opposite)[0][1], -2, rtol=1e-6)


@hypothesis.given(seed=st.integers(0, 2**31))
def test_what_it_does_not_depend_on(seed):
    """A common rotation and a common shift of all corners, and the others' order."""
    rng = np.random.default_rng(seed)
    x = dict(zip("abc", samples.unit(rng, 3, BATCH, DIM, dtype=np.float32), strict=True))
    rotation, shift = samples.orthonormal(rng, DIM, DIM), rng.uniform(-0.5, 0.5, size=DIM)
    moved = {name: (x @ rotation + shift).astype(np.float32) for name, x in x.items()}
    expected = scores(x)
    for other in (moved, {"a": x["a"], "b": x["c"], "c": x["b"]}):
        for found, exact in zip(scores(other), expected, strict=True):
            np.testing.assert_allclose(found[0], exact[0], atol=2e-5)
            np.testing.assert_allclose(found[1], exact[1], atol=2e-6)


@pytest.mark.parametrize("absent", ["b", "d", "bc", "bd"])
def test_absent_corners_leave_the_simplex_of_the_others(absent):
    x = random_tuples(4)
    broken = x | {name: np.full_like(x[name], np.nan) for name in absent}
    found = scores(broken, {name: np.zeros(BATCH, bool) for name in absent})
    there = [rows for name, rows in x.items() if name not in absent]
    exact = scores(dict(zip("abc", there, strict=False)))
    for some, others in zip(found, exact, strict=True):
        np.testing.assert_allclose(some[0], others[0], atol=1e-5)
        np.testing.assert_allclose(some[1], others[1], atol=1e-6)


def test_a_tile_takes_a_product_for_each_of_the_others():
    x = samples.as_jax(random_tuples(4))
    factors = [jax.eval_shape(side, x).factors for side in (PLAIN.rows, PLAIN.cols)]
    assert matmul_flops(PLAIN.tile, *factors) == 3 * 2 * BATCH * BATCH * DIM


def test_slopes_are_finite_where_the_corners_are_one_point():
    """The derivative of the area, at its kink, is 0 by convention, that of the square by right."""
    x = {name: jnp.ones((2, 4)) / 2 for name in "abc"}

    def total(x):
        return jnp.sum(PLAIN.matched(x) + SQUARED.matched(x))

    for rows in jax.jit(jax.grad(total))(x).values():
        np.testing.assert_array_equal(rows, 0)

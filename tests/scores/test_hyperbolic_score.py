"""What is special to the hyperbolic volume: its definition, lengths other than 1, its values."""

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import HyperbolicVolumeScore
from tests import reference, samples
from tests.every_score import both

SCORE = HyperbolicVolumeScore("a")


def scores(tuples):
    """Tile and matched scores of [batch, k, dim]."""
    return both(SCORE, samples.by_name(jnp.asarray(tuples)))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("length", [0.01, 1, 10])
def test_vectors_of_any_length(k, length, x64):
    """Against the determinant of the Lorentz products, as published."""
    rng = np.random.default_rng(k)
    tuples = length * rng.uniform(0.5, 2, size=(8, k, 1)) * samples.unit(rng, 8, k, 16)
    lifted = reference.joined(samples.by_name(tuples), None, "a")[..., :16]
    lifted = np.concatenate([np.sqrt(1 + (lifted**2).sum(-1, keepdims=True)), lifted], axis=-1)
    signs = np.array([-1] + 16 * [1])
    exact = -np.sqrt(np.abs(np.linalg.det((lifted * signs) @ np.swapaxes(lifted, -1, -2))))
    tile, matched = scores(tuples)
    np.testing.assert_allclose(tile, exact, rtol=1e-10)
    np.testing.assert_allclose(matched, np.diag(exact), rtol=1e-10)


@pytest.mark.parametrize("length", [0.01, 1, 10])
def test_long_vectors_lose_as_many_digits_as_their_boost_takes(length):
    """A boost shrinks what lies along b by up to b_0, and costs as many digits."""
    tuples = length * samples.close(np.random.default_rng(0), 32, 4, 16, 1e-3)
    tuples = tuples.astype(np.float32)
    _, matched = scores(tuples)
    np.testing.assert_allclose(matched, -reference.hyperbolic_volume(tuples), rtol=1e-5)


@pytest.mark.parametrize("length", [0.01, 1, 10, 100])
def test_equal_vectors_of_any_length_score_0(length):
    one = length * samples.unit(np.random.default_rng(0), 64, 1, 16)
    tile, matched = scores(np.repeat(one, 2, axis=1).astype(np.float32))
    np.testing.assert_array_equal(np.diag(tile), 0)
    np.testing.assert_array_equal(matched, 0)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("places", [(1, 2), (1, 3), (2, 3)])
def test_two_that_are_close_keep_their_digits_far_from_the_others(distance, places):
    rng = np.random.default_rng(0)
    one, other = places
    tuples = samples.unit(rng, 32, 4, 16)
    tuples[:, other] = tuples[:, one] + distance * tuples[:, other]
    tuples = tuples.astype(np.float32)
    _, matched = scores(tuples)
    np.testing.assert_allclose(matched, -reference.hyperbolic_volume(tuples), rtol=2e-6)


def test_two_unit_vectors(x64):
    tuples = samples.unit(np.random.default_rng(0), 8, 2, 16)
    cosines = tuples[:, 0] @ tuples[:, 1].T
    tile, matched = scores(tuples)
    np.testing.assert_allclose(tile, -np.sqrt((2 - cosines) ** 2 - 1), rtol=1e-12)
    np.testing.assert_allclose(matched, np.diag(tile), rtol=1e-12)


def test_unit_vectors_by_two_euclidean_volumes(x64):
    """That of their differences, S, and that of themselves: V^2 = 2 S^2 - Vol^2."""
    tuples = samples.unit(np.random.default_rng(0), 8, 4, 16)
    differences = reference.volume(tuples[:, 1:] - tuples[:, :1])
    exact = np.sqrt(2 * differences**2 - reference.volume(tuples) ** 2)
    np.testing.assert_allclose(-scores(tuples)[1], exact, rtol=1e-12)


def test_opposite_vectors_are_farther_apart_than_orthogonal_ones(x64):
    one, other = np.eye(2, 16)
    ways = np.array([[one, one], [one, other], [one, -one]] + 5 * [[one, one]])
    _, matched = scores(ways)
    np.testing.assert_allclose(matched[:3], [0, -np.sqrt(3), -np.sqrt(8)], rtol=1e-12)


def test_unlike_the_volume_it_sees_coplanar_unit_vectors_apart():
    rng = np.random.default_rng(0)
    tuples = samples.unit(rng, 32, 4, 16)
    tuples[:, 0] = samples.normalized(tuples[:, 1] - 0.5 * tuples[:, 2])
    tile, matched = scores(tuples.astype(np.float32))
    assert np.max(matched) < -0.1 and np.max(tile) < -0.1

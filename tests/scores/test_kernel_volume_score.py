"""What is special to the volume of a kernel's features: the bandwidth, its range, its ends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import KernelVolumeScore
from tests import reference, samples
from tests.every_score import both


def scores(tuples, bandwidth=1.0):
    """Tile and matched of [batch, k, dim], in numpy."""
    embeddings = samples.by_name(jnp.asarray(tuples))
    return [np.asarray(x) for x in both(KernelVolumeScore("a", bandwidth), embeddings)]


@partial(jax.jit, static_argnums=1)
def total_and_slope(tuples, bandwidth):
    """Of all pairs, and once more of those that match."""

    def total(tuples):
        tile, matched = both(KernelVolumeScore("a", bandwidth), samples.by_name(tuples))
        return tile.sum() + matched.sum()

    return jax.value_and_grad(total)(tuples)


def test_far_from_the_origin():
    """Two pairs of close vectors, all long beside their distances."""
    rng = np.random.default_rng(0)
    pairs = [samples.close(rng, 16, 2, 32, 1e-2) for _ in range(2)]
    tuples = (1000 + np.concatenate(pairs, axis=1)).astype(np.float32)
    _, matched = scores(tuples)
    np.testing.assert_allclose(matched, -reference.kernel_volume(tuples, 1.0), rtol=2e-6)


@pytest.mark.parametrize("bandwidth", [0.3, 5.0])
def test_any_bandwidth(bandwidth):
    for distance in (1, 1e-2, 1e-4):
        tuples = samples.close(np.random.default_rng(0), 16, 4, 32, distance, np.float32)
        _, matched = scores(tuples, bandwidth)
        np.testing.assert_allclose(matched, -reference.kernel_volume(tuples, bandwidth), rtol=2e-6)


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3), (3, 1, 2, 0), (1, 2, 3, 0)])
def test_whichever_are_close(distance, order, x64):
    """One modality far from three that are close: as accurate wherever it stands."""
    rng = np.random.default_rng(0)
    tuples = samples.close(rng, 16, 4, 32, distance)
    tuples[:, 0] = samples.unit(rng, 16, 32)
    tuples = tuples[:, order].astype(np.float32)

    def total(tuples):
        matched = KernelVolumeScore("a").matched(samples.by_name(tuples))
        return matched.sum(), matched

    slope, matched = jax.grad(total, has_aux=True)(jnp.asarray(tuples))
    np.testing.assert_allclose(matched, -reference.kernel_volume(tuples, 1.0), rtol=2e-6)
    exact, _ = jax.grad(total, has_aux=True)(jnp.asarray(tuples, jnp.float64))
    np.testing.assert_allclose(slope, exact, atol=1e-5 * np.abs(exact).max())


def test_any_length_in_units_of_the_bandwidth(x64):
    tuples = samples.unit(np.random.default_rng(0), 8, 4, 16)
    for found, wanted in zip(scores(100 * tuples, 70.0), scores(tuples, 0.7), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_two_unit_vectors(x64):
    tuples = samples.unit(np.random.default_rng(0), 8, 2, 16)
    cosines = tuples[:, 0] @ tuples[:, 1].T
    tile, matched = scores(tuples, 0.7)
    np.testing.assert_allclose(tile, -np.sqrt(-np.expm1((2 * cosines - 2) / 0.7**2)), rtol=1e-12)
    np.testing.assert_allclose(matched, np.diag(tile), rtol=1e-12)


def test_between_0_and_1():
    rng = np.random.default_rng(0)
    for tuples in (samples.unit(rng, 32, 4, 4), 100 * samples.unit(rng, 32, 4, 4)):
        for found in scores(tuples.astype(np.float32), 0.5):
            assert np.all(found <= 0) and np.all(found >= -1 - 1e-6)


def test_what_is_many_bandwidths_apart_is_all_the_same():
    """Volume 1 and derivative 0, whether at 20 bandwidths or at 2000."""
    tuples = jnp.asarray(samples.unit(np.random.default_rng(0), 8, 3, 16), jnp.float32)
    for bandwidth in (0.05, 0.0005):
        value, slope = total_and_slope(tuples, bandwidth)
        np.testing.assert_allclose(value, -72, rtol=1e-6)
        np.testing.assert_array_equal(slope, 0)


def test_equal_vectors_at_a_bandwidth_below_the_rounding_of_their_distance():
    """Which is not 0 everywhere, and by rounding below it."""
    one = samples.unit(np.random.default_rng(0), 64, 1, 16)
    tuples = jnp.asarray(np.repeat(one, 2, axis=1), jnp.float32)
    value, slope = total_and_slope(tuples, 1e-5)
    assert -(64**2) <= value <= -64 * 63 and jnp.isfinite(slope).all()


def test_close_pairs_that_are_many_bandwidths_apart():
    """By what one pair's step changes its kernel with the other, were that not 0, is infinite."""
    line = jnp.array([0.0, 0.875, 1024.0, 1023.125])
    tuples = jnp.stack([line, jnp.zeros(4)], axis=1)[None]

    def total(tuples):
        return KernelVolumeScore("a").matched(samples.by_name(tuples)).sum()

    value, slope = jax.jit(jax.value_and_grad(total))(tuples)
    np.testing.assert_allclose(value, np.expm1(-(0.875**2)), rtol=1e-6)
    assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, 1e-20, float("nan")])
def test_a_bandwidth_that_is_not_positive(bandwidth):
    with pytest.raises(ValueError, match=f"must be positive, at least 1e-18, got {bandwidth}"):
        KernelVolumeScore("a", bandwidth)

"""What holds for the volume of lifted vectors and of a kernel's features alike."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import HyperbolicVolumeScore, KernelVolumeScore
from tests import every_score, reference, samples

SCORES = {"hyperbolic": HyperbolicVolumeScore("a"), "kernel": KernelVolumeScore("a", 0.8)}
VOLUMES = {
    "hyperbolic": reference.hyperbolic_volume,
    "kernel": lambda vectors, there=None: reference.kernel_volume(vectors, 0.8, there),
}

pytestmark = pytest.mark.parametrize("name", SCORES)


def tile_of(name, tuples):
    return every_score.tile_of(SCORES[name], samples.by_name(tuples))


def matched_of(name, tuples, there=None):
    present = None if there is None else samples.by_name(there)
    return SCORES[name].matched(samples.by_name(tuples), present)


tiles, matched = (jax.jit(function, static_argnums=0) for function in (tile_of, matched_of))


def volumes(name, tuples, there=None):
    return -np.asarray(matched(name, jnp.asarray(tuples), there))


@pytest.mark.parametrize("k", [2, 3, 6])
def test_matched_tuples_keep_their_digits_however_close(name, k):
    for distance in 10.0 ** -np.arange(1, 6):
        tuples = samples.close(np.random.default_rng(k), 32, k, 32, distance, np.float32)
        np.testing.assert_allclose(volumes(name, tuples), VOLUMES[name](tuples), rtol=2e-6)


def test_so_in_float64(name, x64):
    for distance in (1, 1e-2):
        tuples = samples.close(np.random.default_rng(0), 32, 4, 32, distance)
        np.testing.assert_allclose(volumes(name, tuples), VOLUMES[name](tuples), rtol=1e-12)


def test_so_do_their_derivatives(name):
    slope = jax.jit(jax.grad(lambda x: -matched_of(name, x)[0]))
    for distance in (1e-1, 1e-4):
        tuples = samples.close(np.random.default_rng(0), 1, 3, 8, distance, np.float32)
        found = slope(jnp.asarray(tuples))
        exact = reference.gradient(lambda x: VOLUMES[name](x[:, 0]), tuples, step=1e-4 * distance)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_derivatives_of_mismatched_tuples_whose_others_are_close(name):
    batch, distance = 3, 1e-3
    tuples = samples.close(np.random.default_rng(0), batch, 3, 8, distance, np.float32)

    def total(x):
        """Of [n, batch, k, dim]: all anchors with the others of all other tuples."""
        pairs = [np.delete(x, i, axis=1) for i in range(batch)]
        for i, others in enumerate(pairs):
            others[:, :, 0] = x[:, i, None, 0]
        return sum(VOLUMES[name](others).sum(axis=1) for others in pairs)

    @jax.jit
    @jax.grad
    def slope(x):
        return -jnp.sum(jnp.where(jnp.eye(batch, dtype=bool), 0, tile_of(name, x)))

    found = np.asarray(slope(jnp.asarray(tuples)))
    exact = reference.gradient(total, tuples, step=1e-3 * distance)
    assert np.linalg.norm(found - exact) <= 1e-4 * np.linalg.norm(exact)


def test_two_equal_others_fit_every_anchor(name):
    tuples = samples.unit(np.random.default_rng(0), 32, 3, 32, dtype=np.float32)
    tuples[:, 2] = tuples[:, 1]
    np.testing.assert_array_equal(volumes(name, tuples), 0)
    np.testing.assert_array_equal(tiles(name, tuples), 0)


def test_signs_matter(name):
    tuples = samples.unit(np.random.default_rng(0), 32, 3, 32, dtype=np.float32)
    for flip in ([-1, 1, 1], [1, -1, 1], [-1, 1, -1]):
        flipped = tuples * np.array(flip, np.float32)[:, None]
        assert np.abs(volumes(name, flipped) - volumes(name, tuples)).max() > 0.01
        assert np.abs(tiles(name, flipped) - tiles(name, tuples)).max() > 0.01
    np.testing.assert_array_equal(volumes(name, -tuples), volumes(name, tuples))


def test_an_anchor_beside_one_of_the_others_is_at_distance_zero(name):
    tuples = samples.unit(np.random.default_rng(0), 32, 3, 32, dtype=np.float32)
    tuples[:, 0] = tuples[:, 2]
    np.testing.assert_array_equal(volumes(name, tuples), 0)
    for dtype in (jnp.float32, jnp.bfloat16):
        found = np.diag(tiles(name, jnp.asarray(tuples, dtype)))
        np.testing.assert_allclose(found, 0, atol=3e-3)
        assert np.mean(found == 0) >= 0.8


@pytest.mark.slow
def test_second_derivatives_are_finite_where_the_volume_is_not_smooth(name):
    def total(x):
        tuples = jnp.moveaxis(x, 0, 1)
        weights = jnp.arange(1.0, 17.0).reshape(4, 4)
        return jnp.vdot(tile_of(name, tuples), weights) + matched_of(name, tuples).sum()

    bent = jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(total)(x) ** 2)))
    for case, batch in samples.degenerate_batches(4, 8).items():
        assert np.isfinite(bent(jnp.asarray(batch, jnp.float32))).all(), case


# Small integers as well as any floats: ties, zeros and equal rows come up often.
floats = st.floats(-2, 2, width=32, allow_subnormal=False).map(lambda x: 0 if abs(x) < 1e-3 else x)
tuples = arrays.arrays(np.float32, (3, 5), elements=st.integers(-2, 2).map(float) | floats)


def close_to(found, wanted, x):
    """Equal to rounding, beside the volume that vectors so long could span."""
    scale = np.prod(1 + np.linalg.norm(x, axis=1) ** 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


@hypothesis.given(tuples, st.permutations(range(3)), st.integers(0, 2**32 - 1))
def test_order_and_rotation_do_not_matter(name, x, order, seed):
    turn = samples.orthonormal(np.random.default_rng(seed), 5, 5)
    value = volumes(name, x[None])
    close_to(volumes(name, x[None, order]), value, x)
    close_to(volumes(name, (x @ turn).astype(np.float32)[None]), value, x)


@hypothesis.given(tuples)
def test_masked_is_subset(name, x):
    masks = np.array([[True, True, False], [True, False, True], [False, True, True]])
    absent = np.where(masks[..., None], x, np.float32(np.nan))
    exact = [VOLUMES[name](x[mask]) for mask in masks]
    close_to(volumes(name, absent, jnp.asarray(masks)), exact, x)

"""What no tuple may break, degenerate ones included."""

from itertools import product

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import normalize, singular_values, volume
from tests import samples

K, D = 3, 5

# Small integers as well as any floats: ties, zeros and dependent rows come up often.
floats = st.floats(-8, 8, width=32, allow_subnormal=False).map(lambda x: 0 if abs(x) < 1e-3 else x)
entries = st.one_of(st.integers(-2, 2).map(float), floats)
tuples = arrays.arrays(np.float32, (K, D), elements=entries)
permutations = st.permutations(range(K)).map(np.array)
signs = st.lists(st.sampled_from([-1.0, 1.0]), min_size=K, max_size=K).map(np.array)
seeds = st.integers(0, 2**32 - 1)

volume_of, values_of, normalize_of = jax.jit(volume), jax.jit(singular_values), jax.jit(normalize)


def close_to(found, wanted, x):
    """Equal to rounding, beside the volume that vectors so long could span."""
    np.testing.assert_allclose(
        found, wanted, rtol=1e-4, atol=1e-5 * np.prod(np.linalg.norm(x, axis=1))
    )


@hypothesis.given(tuples)
def test_unit_vectors_span_at_most_one(x):
    assert 0 <= volume_of(normalize_of(x)) <= 1 + 1e-6


@hypothesis.given(tuples, permutations)
def test_order_does_not_matter(x, order):
    close_to(volume_of(x[order]), volume_of(x), x)
    np.testing.assert_allclose(values_of(x[order]), values_of(x), atol=1e-3)


@hypothesis.given(tuples, signs)
def test_signs_do_not_matter(x, sign):
    flipped = x * sign.astype(np.float32)[:, None]
    close_to(volume_of(flipped), volume_of(x), x)
    np.testing.assert_allclose(values_of(flipped), values_of(x), atol=1e-3)


@hypothesis.given(tuples, seeds)
def test_rotation_does_not_matter(x, seed):
    turn = samples.orthonormal(np.random.default_rng(seed), D, D)
    turned = (x @ turn).astype(np.float32)
    close_to(volume_of(turned), volume_of(x), x)
    np.testing.assert_allclose(values_of(turned), values_of(x), atol=1e-2)


@hypothesis.given(tuples, st.floats(0.0625, 64, width=32))
def test_scale_comes_out_to_the_power_of_k(x, scale):
    scaled = np.float32(scale) * x
    close_to(volume_of(scaled), scale**K * np.asarray(volume_of(x)), scaled)


@hypothesis.given(tuples)
def test_product_of_singular_values_is_the_volume(x):
    close_to(np.prod(np.asarray(values_of(x), np.float64)), volume_of(x), x)


@hypothesis.given(tuples)
def test_squares_of_singular_values_sum_to_the_squared_lengths(x):
    np.testing.assert_allclose(np.sum(values_of(x) ** 2), np.sum(x**2), rtol=1e-5)


@hypothesis.given(tuples)
def test_masked_is_subset(x):
    masks = np.array(list(product([False, True], repeat=K)))
    found = volume_of(jnp.asarray(np.stack([x] * len(masks))), jnp.asarray(masks))
    for mask, value in zip(masks, found, strict=True):
        # Two absent vectors, replaced by unit vectors along axes of their own.
        filled = np.concatenate([np.where(mask[:, None], x, 0), np.diag(~mask)], axis=1)
        close_to(
            value, np.sqrt(max(np.linalg.det(filled @ filled.T), 0)) if mask.any() else 1, filled
        )

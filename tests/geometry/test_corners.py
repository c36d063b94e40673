"""What a slip in the code would change, and nothing else that is tested here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import leading_direction
from gramalign.geometry.kernel import orthonormal_features
from tests import samples


def test_features_within_rounding_of_a_plane_have_volume_0():
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(256, 2, 8))
    middle = ends.mean(1, keepdims=True)
    x = jnp.asarray(np.concatenate([ends, middle], 1), jnp.float32)

    def volumes(x):
        there = jnp.ones(x.shape[:2], bool)
        return orthonormal_features(x, there, rate=1e-8).volume.sum()

    value, slope = jax.value_and_grad(volumes)(x)
    assert value == 0 and (slope == 0).all()


@pytest.mark.parametrize("length", [1e-15, 1e15])
def test_derivatives_of_short_and_long_vectors(length):
    x = jnp.asarray(
        samples.embeddings(np.random.default_rng(0), 3, 6, "a", dtype=np.float32)["a"]
        * np.float32(length)
    )
    one, other = (
        jax.grad(lambda x, m=m: leading_direction(x, method=m) @ jnp.arange(6.0))(x) * length
        for m in ("power", "eigh")
    )
    np.testing.assert_allclose(one, other, atol=1e-3)

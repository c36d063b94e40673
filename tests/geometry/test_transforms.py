"""One function, however it is called: eagerly, jitted, mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import leading_direction, singular_values, volume
from tests import samples

VECTORS = samples.unit(np.random.default_rng(0), 4, 3, 8, dtype=np.float32)


@pytest.mark.parametrize("function", [volume, singular_values, leading_direction])
def test_mapped_equals_batched(function):
    vectors = jnp.asarray(VECTORS)
    batched = jax.jit(function)(vectors)
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(vectors), batched, atol=2e-6)


def test_eager_equals_compiled():
    vectors = jnp.asarray(VECTORS)
    np.testing.assert_allclose(volume(vectors), jax.jit(volume)(vectors), atol=1e-6)

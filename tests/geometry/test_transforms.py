"""One function, however it is called: eagerly, jitted, mapped."""

import jax
import numpy as np
import pytest

from gramalign.geometry import leading_direction, singular_values, volume
from tests import samples


@pytest.mark.parametrize("function", [volume, singular_values, leading_direction])
def test_jit_and_vmap_equal_eager(function):
    vectors = samples.unit(np.random.default_rng(0), 4, 3, 8, dtype=np.float32)
    vectors = jax.numpy.asarray(vectors)
    eager = function(vectors)
    np.testing.assert_allclose(jax.jit(function)(vectors), eager, atol=2e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(vectors), eager, atol=2e-6)

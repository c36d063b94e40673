"""NaN stays NaN: comparisons with it are False, and must not make a perfect volume of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import geometry
from tests import samples

FUNCTIONS = {
    "volume": geometry.volume,
    "log_volume": geometry.log_volume,
    "singular_values": geometry.singular_values,
    "leading_direction": geometry.leading_direction,
    "norm": geometry.norm,
    "normalize": geometry.normalize,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_broken_tuple_shows_and_spoils_no_other(name):
    vectors = samples.unit(np.random.default_rng(0), 3, 3, 8, dtype=np.float32)
    vectors[0, 1] = np.nan
    vectors[1, 2, 3] = np.inf
    found = np.asarray(jax.jit(FUNCTIONS[name])(jnp.asarray(vectors)))
    assert not np.isfinite(found[0]).all()
    assert not np.isfinite(found[1]).all()
    assert np.isfinite(found[2]).all()


def test_lengths_whose_squares_overflow_are_not_a_volume_of_zero():
    assert np.isnan(jax.jit(geometry.volume)(1e25 * jnp.eye(3)))

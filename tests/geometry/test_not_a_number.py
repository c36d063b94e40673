"""NaN stays NaN: comparisons with it are False, and must not make a perfect volume of it."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign import geometry
from tests import samples


@jax.jit
def everything(vectors):
    return {
        "volume": geometry.volume(vectors),
        "log_volume": geometry.log_volume(vectors),
        "singular_values": geometry.singular_values(vectors),
        "leading_direction": geometry.leading_direction(vectors),
        "norm": geometry.norm(vectors),
        "normalize": geometry.normalize(vectors),
    }


def test_a_broken_tuple_shows_and_spoils_no_other():
    vectors = samples.unit(np.random.default_rng(0), 4, 3, 8, dtype=np.float32)
    vectors[0, 1] = np.nan
    vectors[1, 2, 3] = np.inf
    vectors[2] = 1e25 * np.eye(3, 8)  # the squares overflow
    for name, found in everything(jnp.asarray(vectors)).items():
        assert not np.isfinite(found[0]).all(), name
        assert not np.isfinite(found[1]).all(), name
        assert np.isfinite(found[3]).all(), name
        if "volume" in name:
            assert not np.isfinite(found[2]), "lengths beyond float32 must not span a volume of 0"

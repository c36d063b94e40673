"""What plain jnp gives where gramalign gives numbers: NaN. These fail the day that JAX changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import leading_direction, singular_values, volume
from tests import samples


def plain_volume(x):
    """sqrt(|det G|), as published."""
    return jnp.sqrt(jnp.abs(jnp.linalg.det(x @ x.T)))


def plain_direction(x):
    """The first left vector of an SVD, as published but for its d x d factor."""
    return jnp.linalg.svd(x.T, full_matrices=False)[0][0, 0]


def plain_values(x):
    """Second derivatives of single singular values pass through those of the factors."""
    return jax.grad(lambda y: jnp.linalg.svd(y, full_matrices=False)[1].sum())(x).sum()


def our_values(x):
    return jax.grad(lambda y: singular_values(y).sum())(x).sum()


def our_direction(x):
    return leading_direction(x)[0]


PAIR = jnp.ones((2, 4)) / 2
TWO_ALIKE = jnp.eye(4)[jnp.array([0, 1, 1])]
ORTHONORMAL = jnp.eye(4)[:3]


@pytest.mark.parametrize(
    ("plain", "ours", "tuples"),
    [
        (plain_volume, volume, PAIR),
        (plain_volume, volume, TWO_ALIKE),
        (plain_direction, our_direction, ORTHONORMAL),
        (plain_values, our_values, ORTHONORMAL),
    ],
    ids=["volume of a pair", "volume, two alike", "direction", "second derivative of values"],
)
def test_plain_gradient_is_not_a_number_and_ours_is(plain, ours, tuples):
    assert np.isnan(jax.jit(jax.grad(plain))(tuples)).any()
    assert np.isfinite(jax.jit(jax.grad(ours))(tuples)).all()


def test_the_full_svd_has_no_derivative_at_all():
    def published(x):
        return jnp.linalg.svd(x.T, full_matrices=True)[0][0, 0]

    with pytest.raises(NotImplementedError):
        jax.grad(published)(
            jnp.asarray(samples.unit(np.random.default_rng(0), 3, 4, dtype=np.float32))
        )

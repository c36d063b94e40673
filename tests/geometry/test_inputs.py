"""Messages for what cannot be computed, as users meet them: without run-time type checks."""

import jax.numpy as jnp
import pytest

from gramalign.geometry import (
    gram_matrix,
    leading_direction,
    norm,
    normalize,
    singular_values,
    volume,
)

FUNCTIONS = [gram_matrix, leading_direction, singular_values, volume]


pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("vectors", "present", "message"),
    [
        (jnp.ones(3), None, r"vectors must be \[..., k, d\].*got shape \(3,\)"),
        (jnp.ones((2, 3), int), None, "vectors must be floating point, got int32"),
        (jnp.ones((0, 3)), None, r"at least one vector of length >= 1, got \(0, 3\)"),
        (jnp.ones((2, 0)), None, r"at least one vector of length >= 1, got \(2, 0\)"),
        (jnp.ones((5, 2, 3)), jnp.ones((5, 2), int), "present must be bool, got int32"),
        (jnp.ones((5, 2, 3)), jnp.ones(5, bool), r"without its last axis, \(5, 2\), got \(5,\)"),
        (jnp.ones((2, 3)), jnp.ones((2, 3), bool), r"without its last axis, \(2,\), got \(2, 3\)"),
    ],
)
def test_tuples(function, vectors, present, message):
    with pytest.raises(ValueError, match=message):
        function(vectors, present)


@pytest.mark.parametrize("function", [*FUNCTIONS, norm, normalize])
@pytest.mark.parametrize("wrong", [[[1.0, 0.0], [0.0, 1.0]], ((1.0, 0.0),), None])
def test_what_is_no_array(function, wrong):
    kind = type(wrong).__name__
    with pytest.raises(TypeError, match=f"must be a JAX or NumPy array, got {kind}"):
        function(wrong)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_mask_that_is_no_array(function):
    with pytest.raises(TypeError, match="present must be a JAX or NumPy array, got list"):
        function(jnp.ones((2, 3)), [True, True])


@pytest.mark.parametrize("function", [norm, normalize])
@pytest.mark.parametrize("dtype", [int, complex])  # of complex numbers it once made zeros
def test_lengths(function, dtype):
    with pytest.raises(ValueError, match="must be floating point, got .*astype"):
        function(jnp.ones((2, 3), dtype))


def test_unknown_method():
    with pytest.raises(ValueError, match='method must be "eigh" or "power", got \'qr\''):
        leading_direction(jnp.ones((2, 3)), method="qr")

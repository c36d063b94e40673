"""The layer of towers: what flax's would give, and derivatives that are not rounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models.linear import Linear

ROWS, WIDE, NARROW = 512, 24, 8
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(ROWS, WIDE)), jnp.float32)
SLOPE = jnp.asarray(RNG.normal(size=(ROWS, NARROW)), jnp.float32)


def derivatives(kind, dtype, **more):
    """The output, and the derivatives by input and parameters."""
    layer = kind(WIDE, NARROW, dtype=dtype, rngs=nnx.Rngs(0), **more)
    layer.bias[...] = jnp.arange(NARROW, dtype=jnp.float32) / 7
    graphdef, params = nnx.split(layer)

    def loss(x, params):
        y = nnx.merge(graphdef, params)(x)
        return jnp.sum(y.astype(jnp.float32) * SLOPE), y

    (_, y), (d_x, d_params) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(X, params)
    return y, d_x, nnx.to_pure_dict(d_params)


def test_it_is_that_of_flax():
    ours, theirs = (derivatives(kind, "float32") for kind in (Linear, nnx.Linear))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_along_several_axes_stay_there(dtype):
    graphdef, params = nnx.split(
        Linear(WIDE, NARROW, use_bias=False, dtype=dtype, rngs=nnx.Rngs(0))
    )

    def loss(params, x):
        return jnp.sum(nnx.merge(graphdef, params)(x).astype(jnp.float32) ** 2)

    flat, deep = ((params, X.reshape(*shape, WIDE)) for shape in [(ROWS,), (4, 2, ROWS // 8)])
    one, other = (jax.grad(loss, argnums=(0, 1))(*each) for each in (flat, deep))
    for found, wanted in zip(jax.tree.leaves(other), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-4, atol=1e-4)
    assert "reshape" not in str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(*deep))


def test_forward_derivatives_where_nothing_is_rounded():
    layer = Linear(WIDE, NARROW, dtype="float32", rngs=nnx.Rngs(0))
    slopes = jax.jacfwd(lambda x: layer(x[None])[0])(X[0])
    np.testing.assert_allclose(slopes, layer.kernel[...].T, rtol=1e-6)


@pytest.mark.parametrize("out", [None, jnp.float32])
def test_sums_over_the_batch_are_not_rounded(out):
    y, d_x, found = derivatives(Linear, "bfloat16", preferred_element_type=out)
    assert y.dtype == (out or jnp.bfloat16) and d_x.dtype == jnp.float32
    np.testing.assert_allclose(y, derivatives(nnx.Linear, "float32")[0], atol=0.05)
    rounded = [np.asarray(x.astype(jnp.bfloat16), np.float64) for x in (X, SLOPE)]
    slope = rounded[1] if out is None else np.asarray(SLOPE, np.float64)  # as it comes
    exact = {"kernel": rounded[0].T @ rounded[1], "bias": slope.sum(0)}
    for name, sums in exact.items():
        assert found[name].dtype == jnp.float32
        np.testing.assert_allclose(found[name], sums, rtol=1e-4, atol=1e-4)

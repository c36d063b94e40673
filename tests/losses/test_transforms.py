"""Losses under second derivatives and over a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from gramalign import losses
from tests import reference, samples


def test_second_derivatives_are_finite_differences_of_first(x64):
    rng = np.random.default_rng(0)
    embeddings = samples.as_jax(samples.embeddings(rng, 5, 6, "ab", dtype=np.float64))
    along = samples.as_jax({m: rng.normal(size=x.shape) for m, x in embeddings.items()})

    def slope(x):
        gradient = jax.grad(lambda y: losses.clip(y, anchor="a", temperature=0.2).sum())(x)
        return sum(jnp.vdot(gradient[m], along[m]) for m in gradient)

    both = jax.jit(jax.value_and_grad(slope))
    _, second = both(embeddings)

    def moved(step):
        return both({m: x + step * along[m] for m, x in embeddings.items()})[0]

    exact = reference.directional_derivative(moved, 0.0, 1.0)
    found = sum(np.vdot(second[m], along[m]) for m in second)
    np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_pmrl_over_two_devices(x64):
    """Its own use of the engine: one side of directions, valid with two modalities or more."""
    rng = np.random.default_rng(0)
    embeddings = samples.as_jax(samples.embeddings(rng, 8, 6, dtype=np.float64))
    present = samples.as_jax(samples.masks(rng, 8))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def part(x, present):
        return losses.pmrl(x, present=present, axis_name="data")

    split = jax.shard_map(part, mesh=mesh, in_specs=P("data"), out_specs=P("data"))

    def total(loss):
        return lambda x: jnp.vdot(loss(x, present), jnp.arange(1.0, 9.0))

    def one_device(x, present):
        return losses.pmrl(x, present=present)

    found = jax.jit(jax.value_and_grad(total(split)))(embeddings)
    exact = jax.jit(jax.value_and_grad(total(one_device)))(embeddings)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)

"""Over any number of devices: the same values and gradients as on one."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests import contrast_engine as engine
from tests.every_score import SCORES


@cache
def sharded(name, devices, own_groups):
    """As `engine.derivative`, with the batch split; the gradient is taken of the whole."""
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def part(embeddings, scale, present, groups):
        groups = groups if own_groups else None
        return engine.losses(name, embeddings, scale, present, groups, tile=3, axis_name="data")

    specs = (P("data"), P(), P("data"), P("data"))
    whole = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P("data"), check_vma=True)

    def call(embeddings, scale, weights, present, groups):
        values = whole(embeddings, scale, present, groups)
        return jnp.vdot(values, weights), values

    return jax.jit(jax.value_and_grad(call, argnums=(0, 1), has_aux=True))


def compare(name, devices, kind):
    own_groups = "grouped" in kind
    arguments = jax.tree.map(jnp.asarray, engine.batch(kind))
    found = sharded(name, devices, own_groups)(*arguments)
    exact = engine.derivative(name, 6)(*arguments)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "direction squared"])
def test_every_score_on_two_devices(name, x64):
    compare(name, 2, "masked and grouped")


@pytest.mark.parametrize("kind", ["grouped", "masked and grouped", "nothing grouped"])
def test_eight_devices(kind, x64):
    compare("cosine of two", 8, kind)


@pytest.mark.parametrize("kind", ["plain", "masked"])
def test_without_groups_nobody_shares_one_across_devices(kind, x64):
    compare("cosine of two", 8, kind)


def test_without_an_axis_name_every_device_is_a_batch_of_its_own(x64):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    embeddings, scale, _, present, groups = jax.tree.map(jnp.asarray, engine.batch("masked"))

    def part(embeddings, scale, present, groups):
        return engine.losses("cosine of two", embeddings, scale, present, groups, tile=3)

    specs = (P("data"), P(), P("data"), P("data"))
    local = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P("data")))
    found = local(embeddings, scale, present, groups)
    whole = engine.batch("masked")
    for part in np.split(np.arange(engine.BATCH), 2):
        embeddings, present, groups = jax.tree.map(
            lambda x, part=part: x[part], (whole[0], *whole[3:])
        )
        exact = engine.dense("cosine of two", embeddings, scale, present, groups)
        np.testing.assert_allclose(found[part], exact, atol=1e-9)

"""Which tiles the engine takes where none are asked for."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.contrast.engine import TILES
from gramalign.mesh import platform


def traced_on(name, function):
    """What a function returns while JAX traces for a mesh of devices that are not here."""
    device = AbstractDevice(device_kind="made up", num_cores=None, platform=name)
    mesh = AbstractMesh((2,), ("data",), (AxisType.Auto,), abstract_device=device)
    found = []

    def part(x):
        found.append(function())
        return x

    along = jax.P("data")
    mapped = jax.shard_map(part, mesh=mesh, in_specs=along, out_specs=along)
    jax.eval_shape(mapped, jax.ShapeDtypeStruct((2,), jnp.float32))
    return found[0]


@pytest.mark.parametrize("name", ["cpu", "gpu", "tpu"])
def test_the_mesh_says_what_the_tile_is_for(name):
    assert traced_on(name, platform) == name
    assert traced_on(name, DEFAULT_ENGINE.tile_size) == TILES[name]


def test_elsewhere_it_is_the_default_device():
    assert platform() == jax.default_backend()
    assert Engine().tile_size() == TILES[jax.default_backend()]


def test_a_tile_that_is_asked_for():
    assert traced_on("gpu", Engine(tile=7).tile_size) == 7
    assert traced_on("a new kind", DEFAULT_ENGINE.tile_size) == TILES["cpu"]

"""Memory of loss and gradient on TPU slices, compiled ahead of time: GRAM, 4 modalities of 512."""

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.topology import mesh_along
from tests.compilers import tpu
from tests.contrast.ahead import DIM, MIB, compiled

pytestmark = tpu

GATHERED = 1.1 * 3 * 32768 * DIM * (2 + 4) / MIB


def test_a_ring_of_16_chips():
    memory, text = compiled("v5e:4x4", 32768, "ring")
    assert memory <= 24
    assert "collective-permute" in text and "all-gather" not in text


def test_a_ring_of_16_chips_and_a_large_batch():
    assert compiled("v5e:4x4", 131072, "ring")[0] <= 260


def test_a_ring_of_256_chips_takes_no_more():
    """At the same batch per chip."""
    few, many = (compiled(*at, "ring")[0] for at in [("v5e:4x4", 32768), ("v5e:16x16", 524288)])
    assert many <= 1.05 * few


def test_gathered_columns_and_their_gradient():
    """An orthonormal basis of three modalities for each example, and its slope in float32."""
    memory, text = compiled("v5e:4x4", 32768, "gather")
    assert memory <= GATHERED
    assert "all-gather" in text


@pytest.mark.parametrize("strategy, limit", [("ring", 12), ("gather", 0.95 * GATHERED)])
def test_fused_tiles(strategy, limit):
    memory, text = compiled("v5e:4x4", 32768, strategy, "pallas")
    assert memory <= limit
    assert text.count('custom_call_target="tpu_custom_call"') == 2  # forward and backward


def fused(topology, **settings):
    """Compiles the gradient, for float32 embeddings."""
    mesh = mesh_along(topology)
    engine = Engine(implementation="pallas", **settings)
    loss = losses.over_mesh(losses.gram, mesh)
    split = jax.NamedSharding(mesh, jax.P("data"))
    shapes = dict.fromkeys("abcd", jax.ShapeDtypeStruct((16384, DIM), jnp.float32, sharding=split))
    step = jax.jit(jax.grad(lambda x: loss(x, anchor="a", engine=engine).mean()))
    return step.lower(shapes).compile()


def test_a_generation_with_little_memory_inside_its_cores():
    """Tiles are as large as there is memory for."""
    with pytest.raises(ValueError, match=r"MiB inside a TPU's core, where 14 .*lower Engine.tile"):
        fused("v4:2x2x1")
    fused("v4:2x2x1", tile=256)


def test_a_topology_that_does_not_exist():
    with pytest.raises(ValueError, match=r"no TPU topology 'v5e:1x7'; give a generation"):
        mesh_along("v5e:1x7")

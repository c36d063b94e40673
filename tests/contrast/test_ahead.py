"""Memory of loss and gradient on TPUs and GPUs that are not there: GRAM, 4 modalities of 512."""

from functools import cache

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.traffic import traffic
from tests.compilers import cuda, mesh_along, tpu

DIM, MIB = 512, 2**20
GATHERED = 1.1 * 3 * 32768 * DIM * (2 + 4) / MIB


@cache
def compiled(topology, batch, strategy, implementation="xla"):
    """Temporary memory in MiB, and the program; for bfloat16 embeddings."""
    mesh = mesh_along(topology)
    split = jax.NamedSharding(mesh, jax.P("data"))
    loss = losses.over_mesh(losses.gram, mesh)
    engine = Engine(strategy, implementation=implementation)

    def mean(x):
        return loss(x, anchor="a", engine=engine).mean()

    shapes = dict.fromkeys("abcd", jax.ShapeDtypeStruct((batch, DIM), jnp.bfloat16, sharding=split))
    step = jax.jit(jax.value_and_grad(mean), out_shardings=(None, dict.fromkeys("abcd", split)))
    program = step.lower(shapes).compile()
    return program.memory_analysis().temp_size_in_bytes / MIB, program.as_text()


def on_both(names, of_tpus, of_gpus):
    return pytest.mark.parametrize(
        names, [pytest.param(*of_tpus, marks=tpu), pytest.param(*of_gpus, marks=cuda)]
    )


@pytest.mark.slow
@on_both("topology, limit, more", ("v5e:4x4", 24, 260), ("h100:2x8", 52, 200))
def test_a_ring_of_16(topology, limit, more):
    memory, text = compiled(topology, 32768, "ring")
    assert memory <= limit
    assert "collective-permute" in text and "all-gather" not in text
    assert compiled(topology, 131072, "ring")[0] <= more


@pytest.mark.slow
@on_both("few, many", ("v5e:4x4", "v5e:16x16"), ("h100:2x8", "h100:32x8"))
def test_a_ring_of_256_takes_no_more(few, many):
    """At the same batch per device."""
    assert compiled(many, 524288, "ring")[0] <= 1.05 * compiled(few, 32768, "ring")[0]


@cuda
def test_one_gpu_and_a_batch_of_which_no_score_matrix_would_fit():
    """Of a million by a million in float32, which are 4 TiB; linear in the batch."""
    sizes = [65536 * many for many in (1, 4, 16)]
    some, more, most = (compiled("h200:1", size, None)[0] for size in sizes)
    assert some <= 1200 and more <= 4.3 * some and most <= 4.3 * more


@pytest.mark.slow
@tpu
def test_gathered_columns_and_their_gradient():
    """An orthonormal basis of three modalities for each example, and its slope in float32."""
    memory, text = compiled("v5e:4x4", 32768, "gather")
    assert memory <= GATHERED
    assert "all-gather" in text


@pytest.mark.slow
@tpu
@pytest.mark.parametrize("strategy, limit", [("ring", 12), ("gather", 0.95 * GATHERED)])
def test_fused_tiles(strategy, limit):
    memory, text = compiled("v5e:4x4", 32768, strategy, "pallas")
    assert memory <= limit
    assert text.count('custom_call_target="tpu_custom_call"') == 2  # forward and backward


@pytest.mark.slow
@tpu
def test_tiles_stay_inside_a_core():
    """Less than one number of a pair is moved, written once."""
    texts = (compiled("v5e:4x4", 32768, "ring", how)[1] for how in ("pallas", "xla"))
    fused, by_xla = map(traffic, texts)
    assert fused.exact and by_xla.exact
    assert fused.moved < by_xla.moved < 4 * 32768**2 / 16


def fused(topology, **settings):
    """Compiles the gradient, for float32 embeddings."""
    mesh = mesh_along(topology)
    engine = Engine(implementation="pallas", **settings)
    loss = losses.over_mesh(losses.gram, mesh)
    split = jax.NamedSharding(mesh, jax.P("data"))
    shapes = dict.fromkeys("abcd", jax.ShapeDtypeStruct((16384, DIM), jnp.float32, sharding=split))
    step = jax.jit(jax.grad(lambda x: loss(x, anchor="a", engine=engine).mean()))
    return step.lower(shapes).compile()


@pytest.mark.slow
@tpu
def test_a_generation_with_little_memory_inside_its_cores():
    """Tiles are as large as there is memory for."""
    with pytest.raises(
        ValueError, match=r"MiB inside a TPU's core, which has 14: .*lower Engine.tile"
    ):
        fused("v4:2x2x1")
    fused("v4:2x2x1", tile=256)


@tpu
def test_a_topology_that_does_not_exist():
    with pytest.raises(ValueError, match=r"no TPU topology 'v5e:1x7'; give a generation"):
        mesh_along("v5e:1x7")

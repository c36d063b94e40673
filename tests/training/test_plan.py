"""A training step compiled for a TPU slice: the step that trains, and what it is said to take."""

import math
import re
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx

from gramalign.contrast import Engine
from gramalign.contrast.engine import TILES
from gramalign.programs.chips import CHIPS
from gramalign.programs.collectives import Collective
from gramalign.programs.flops import traced_flops
from gramalign.programs.memory import Memory
from gramalign.programs.topology import devices_of
from gramalign.programs.traffic import Traffic
from gramalign.training.config import Config, Layout, Optimizer
from gramalign.training.config import Model as Shape
from gramalign.training.layout import mesh_of
from gramalign.training.model import Model, split
from gramalign.training.optimizer import make_optimizer
from gramalign.training.plan import Plan, attempt, plan, trace_step
from gramalign.training.state import init_state
from tests.compilers import cuda, tpu

DIMS = {"text": 10, "audio": 7}
CONFIG = Config(
    objective="clip",
    model=Shape(dim=8, hidden=16),
    optimizer=Optimizer(warmup=2),
    steps=12,
    batch_size=256,
    engine=Engine(tile=64),
)


def slice_of_four():
    return mesh_of(Layout(), devices_of("v5e:2x2"))


@cache
def planned(**changes):
    return plan(replace(CONFIG, **changes), DIMS, slice_of_four())


def simulated(devices=4):
    return mesh_of(Layout(data=devices))


@pytest.mark.parametrize("rates", [(), (("towers.text", 0.0),)])
def test_the_step_is_called_with_what_training_calls_it_with(rates):
    mesh, config = simulated(), replace(CONFIG, optimizer=Optimizer(warmup=2, rates=rates))
    tx = make_optimizer(config.optimizer, config.steps)
    _, params, fixed = split(Model(config, DIMS, rngs=nnx.Rngs(params=0)), rates)
    state = init_state(params, tx, jax.random.key(0))
    rows = CONFIG.batch_size
    batch = {
        "features": {name: np.zeros((rows, width), np.float32) for name, width in DIMS.items()},
        "present": {name: np.ones(rows, bool) for name in DIMS},
        "groups": np.arange(rows, dtype=np.int32),
    }
    described = trace_step(config, DIMS, mesh).args_info[0]
    given = (state, fixed, batch)
    assert jax.tree.structure(described) == jax.tree.structure(given)
    for told, real in zip(jax.tree.leaves(described), jax.tree.leaves(given), strict=True):
        assert (told.shape, told.dtype) == (real.shape, real.dtype)
    assert all(told.donated for told in jax.tree.leaves(described[0]))


def test_nothing_large_is_allocated():
    before = sum(x.nbytes for x in jax.live_arrays())
    large = replace(CONFIG, model=Shape(dim=8, hidden=2**15, depth=2))
    trace = trace_step(large, DIMS, simulated())
    parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(trace.args_info[0][0].params))
    assert parameters > 2**31
    assert sum(x.nbytes for x in jax.live_arrays()) - before < 2**20


@pytest.mark.parametrize("size, near", [(250, "248 or 252"), (3, "4")])
def test_a_batch_that_does_not_divide(size, near):
    config = replace(CONFIG, batch_size=size)
    with pytest.raises(
        ValueError, match=f"batch of {size} does not divide evenly over 4.*{near}, or fewer"
    ):
        trace_step(config, DIMS, simulated())


def test_no_layout_repeats_work():
    def flops(batch_size, **axes):
        config = replace(CONFIG, layout=Layout(**axes), batch_size=batch_size)
        return traced_flops(trace_step(config, DIMS, mesh_of(config.layout)).jaxpr)

    layouts = [{"data": 4}, {"data": 1, "fsdp": 2, "model": 2}, {"data": 1, "model": 4}]
    assert len({flops(256, **axes) for axes in layouts}) == 1
    odd = {"data": 2, "fsdp": 1, "model": 4}
    assert flops(250, **odd) > flops(250, data=2), "unless the batch does not divide"


@pytest.mark.slow
@tpu
@pytest.mark.parametrize("layout", [Layout(), Layout(fsdp=4), Layout(fsdp=2, model=2)])
def test_devices_add_up_nothing_that_is_rounded(layout):
    """However many they are, as many times would bfloat16 be rounded."""
    config = replace(CONFIG, model=Shape(dim=64, hidden=256, dtype="bfloat16"), layout=layout)
    mesh = mesh_of(layout, devices_of("v5e:2x2"))
    text = trace_step(config, {"text": 512, "audio": 256}, mesh).lower().compile().as_text()
    sums = re.findall(r"= (.*) (?:all-reduce|reduce-scatter)(?:-start)?\(", text)
    assert any("f32[" in each for each in sums)
    assert not [each for each in sums if "bf16[" in each]


@pytest.mark.slow
@tpu
def test_memory_and_work_grow_with_the_batch():
    small, large = planned(), planned(batch_size=2048)
    assert large.memory.arguments > small.memory.arguments
    assert large.memory.total > small.memory.total
    # Of each pair of a row and a column a few products; of each row alone, the towers.
    assert 8 * small.flops < large.flops < 64 * small.flops


@pytest.mark.slow
@tpu
def test_devices_that_split_parameters_receive_their_part_of_a_gradient():
    """Not the whole of it, which is twice as much to send."""
    config = replace(CONFIG, model=Shape(dim=64, hidden=256), layout=Layout(fsdp=4))
    dims = {"text": 512, "audio": 256}
    found = plan(config, dims, mesh_of(config.layout, devices_of("v5e:2x2")))
    sums = {c.kind: c.sent for c in found.collectives if c.kind in ("all-reduce", "reduce-scatter")}
    matrices = 4 * sum(256 * width + (width + 256) * 64 for width in dims.values())
    columns = 4 * config.batch_size * 64
    assert sums["reduce-scatter"] == (matrices + columns) * 3 / 4
    assert sums["all-reduce"] < matrices / 8


@pytest.mark.slow
@tpu
def test_tiles_take_six_products_of_bfloat16_and_towers_one():
    """Four passes over the tiles of the one pair of modalities."""
    found = planned()
    tiles = 4 * 2 * CONFIG.batch_size**2 * CONFIG.model.dim
    assert found.bfloat16_flops - found.flops == (6 - 1) * tiles
    assert found.flops > tiles


@pytest.mark.slow
@tpu
def test_a_ring_sends_asynchronously_to_one_neighbour():
    found = planned(engine=Engine("ring", tile=64))
    ring = next(c for c in found.collectives if c.kind == "collective-permute")
    assert ring.asynchronous and ring.exact and ring.count > 2 * 4 * 2
    assert found.seconds(ring) == ring.sent / CHIPS["TPU v5 lite"].link_bandwidth
    gathered = next(c for c in planned().collectives if c.kind == "all-gather")
    assert found.seconds(gathered) == gathered.sent / CHIPS["TPU v5 lite"].send_bandwidth


@pytest.mark.slow
@tpu
def test_fused_tiles_where_only_matrices_are_split():
    layout = Layout(data=1, model=4)
    config = replace(CONFIG, layout=layout, engine=Engine(implementation="pallas"))
    step = trace_step(config, DIMS, mesh_of(layout, devices_of("v5e:2x2")))
    assert "tpu_custom_call" in step.lower().compile().as_text()


@cuda
@pytest.mark.parametrize("topology", ["h200:1", "h200:2"])
def test_tiles_are_those_of_the_platform(topology):
    config = replace(CONFIG, batch_size=8192, engine=Engine())
    step = trace_step(config, DIMS, mesh_of(Layout(), devices_of(topology)))
    tile = TILES["gpu"]
    assert tile != TILES["cpu"] and f"tensor<{tile}x{tile}xf32>" in step.lower().as_text()


@pytest.mark.slow
@tpu
def test_a_batch_that_does_not_fit():
    trial = attempt(
        replace(CONFIG, batch_size=2**27), DIMS, mesh_of(Layout(), devices_of("v5e:2x2"))
    )
    assert not trial.fits and trial.needed > 16 * 2**30


def invented(*, flops, permuted, gathered, moved=0):
    """Seconds of each, on a chip with round figures."""
    peaks = {"flops": 1e12, "memory_bandwidth": 1e10, "link_bandwidth": 1e9, "links": 4}
    chip = replace(CHIPS["TPU v5 lite"], **peaks)
    collectives = (
        Collective("collective-permute", True, 3, int(permuted * 1e9), True),
        Collective("all-gather", False, 1, int(gathered * 4e9), True),
    )
    work = int(flops * 4 * 1e12)
    traffic = Traffic(int(moved * 1e10))
    return Plan(8, 4, chip, Memory(1, 2, 3, 4), work // 6, work, traffic, collectives)


@pytest.mark.parametrize(
    "flops, moved, permuted, gathered, exposed",
    [
        (5, 2, 3, 0, 0),
        (5, 0, 7, 0, 2),
        (5, 6, 7, 0, 1),
        (5, 8, 7, 0, 0),
        (5, 2, 3, 1, 1),
        (5, 0, 7, 1, 3),
        (0, 0, 2, 0, 2),
    ],
)
def test_what_compute_and_memory_hide(flops, moved, permuted, gathered, exposed):
    found = invented(flops=flops, moved=moved, permuted=permuted, gathered=gathered)
    assert found.compute == pytest.approx(flops)
    assert found.moving == pytest.approx(moved)
    assert found.communication == pytest.approx((permuted, gathered))
    assert found.exposed == pytest.approx(exposed)


@pytest.mark.parametrize("leaving, seconds", [(0, 2), (10**8, 2), (2 * 10**8, 4), (9 * 10**8, 18)])
def test_a_network_card_beside_a_link(leaving, seconds):
    """They send at the same time, each what it has to."""
    gpu = replace(CHIPS["NVIDIA H200"], link_bandwidth=5e8, network_bandwidth=5e7)
    found = replace(invented(flops=1, permuted=0, gathered=0), chip=gpu)
    collective = Collective("all-gather", True, 1, 10**9, True, leaving)
    assert found.seconds(collective) == pytest.approx(seconds)


@cuda
def test_parameters_that_are_split_inside_of_hosts_stay_there():
    layout = Layout(data=2, fsdp=4)
    model = replace(CONFIG.model, hidden=4096)
    config = replace(CONFIG, layout=layout, model=model)
    found = plan(config, DIMS, mesh_of(layout, devices_of("h100:2x4")))
    inside = max(c.sent for c in found.collectives if c.kind == "all-gather" and not c.leaving)
    between = max(c.sent for c in found.collectives if c.kind == "all-gather" and c.leaving)
    # Three quarters of the towers' large matrices; the batch's embeddings.
    towers = 4 * sum(4096 * (width + 8) for width in DIMS.values())
    assert inside == pytest.approx(towers * 3 / 4, rel=0.05)
    assert between < inside / 2


def test_json():
    record = invented(flops=5, permuted=7, gathered=1, moved=2).to_json()
    assert record["memory"]["total"] == 10
    assert record["chip"]["name"] == "v5e" and record["devices"] == 4
    assert record["seconds"]["exposed"] == pytest.approx(3)
    assert record["traffic"] == {"moved": 2e10, "exact": True}
    assert record["seconds"]["moving"] == pytest.approx(2)
    assert [each["seconds"] for each in record["collectives"]] == pytest.approx([7, 1])

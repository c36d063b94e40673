"""Microbatches and meshes change memory and speed of a step, never its result."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine
from gramalign.programs.flops import traced_flops
from gramalign.training import Clip
from gramalign.training.config import Config, Layout, Optimizer
from gramalign.training.config import Model as Shape
from gramalign.training.layout import mesh_of
from gramalign.training.microbatch import microbatched
from gramalign.training.plan import trace_step
from tests.training.one_step import first_gradient

CONFIG = Config(
    objective="clip",
    settings={"clip": Clip(learn_temperature=True)},
    model=Shape(dim=4, hidden=32, dropout=0.5),
    optimizer=Optimizer(warmup=1, learning_rate=0.01),
    steps=5,
    batch_size=16,
    layout=Layout(data=1),
)


@pytest.fixture(scope="module")
def plain():
    return first_gradient(CONFIG)


def same(found, plain):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=2e-6), found, plain)


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 100])
def test_a_microbatch_of_any_size(size, plain):
    same(first_gradient(dataclasses.replace(CONFIG, microbatch=size)), plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout, changes",
    [
        (Layout(data=2, fsdp=2, model=2), {"microbatch": 8}),
        (
            Layout(data=2, fsdp=4),
            {
                "engine": Engine("ring", tile=3),
                "model": dataclasses.replace(CONFIG.model, remat=True),
            },
        ),
    ],
)
def test_a_mesh(layout, changes, plain):
    same(first_gradient(dataclasses.replace(CONFIG, layout=layout, **changes)), plain)


@functools.cache
def compiled(layout, remat):
    """Operations, and bytes, of a step."""
    shape = Shape(dim=8, hidden=256, depth=4, dropout=0.1, remat=remat)
    config = dataclasses.replace(CONFIG, model=shape, batch_size=2048, layout=layout)
    step = trace_step(config, {"a": 8, "b": 8}, mesh_of(layout))
    memory = step.lower().compile().memory_analysis().temp_size_in_bytes
    return traced_flops(step.jaxpr), memory


@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout(data=1), Layout(data=1, fsdp=2)])
def test_what_a_layer_keeps(layout):
    """With remat all products are computed twice; where parameters are gathered, none are."""
    (plain, memory), (work, split), (again, less) = (
        compiled(*how) for how in ((Layout(data=1), False), (layout, False), (layout, True))
    )
    each = 2 * 2 * 2048  # of both towers, for each number in a matrix
    last, layers = each * (8 * 8 + 256 * 8), each * (8 * 256 + 3 * 256 * 256)
    assert work == plain
    assert again - plain == last + layers
    assert split * layout.fsdp < 1.2 * memory and less < 0.9 * split


def test_dropout_is_drawn(plain):
    assert abs(first_gradient(CONFIG, seed=2)[0] - plain[0]) > 1e-3


def test_towers_keep_the_activations_of_one_microbatch():
    """Sixteen layers that keep 64 KiB an example each."""

    def tower(x):
        for _ in range(16):
            x = jnp.sin(jnp.tile(x, (1, 2))[:, ::2] * 2)
        return x

    def temporary(encode):
        x = jax.ShapeDtypeStruct((256, 4096), jnp.float32)
        step = jax.jit(jax.grad(lambda x: jnp.square(encode(x)).sum()))
        return step.lower(x).compile().memory_analysis().temp_size_in_bytes

    assert temporary(microbatched(tower, 16)) < temporary(tower) / 3


def test_microbatches_are_of_one_size_and_take_each_nth_row():
    """Then a device has its share of every one, if the batch is split over devices."""

    def told(x):
        return jnp.full_like(x, x.sum()), jnp.full_like(x, len(x))

    sums, sizes = microbatched(told, 4)(jnp.arange(5.0))
    assert sums.tolist() == [6, 4, 6, 4, 6] and sizes.tolist() == [3] * 5


def test_no_size_and_no_rows():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        microbatched(jnp.sin, 0)
    with pytest.raises(ValueError, match="the batch is empty"):
        microbatched(jnp.sin, 4)(jnp.ones((0, 3)))

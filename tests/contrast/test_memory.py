"""Memory of the compiled loss and gradient: linear in the batch, flat in the number of devices."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from gramalign.contrast import Engine, contrast
from tests.every_score import MAIN, SCORES

DIM = 64


def temporary_bytes(function, *shapes):
    """What value and gradient need besides arguments and results; nothing is run."""
    lowered = jax.jit(jax.value_and_grad(function)).lower(*shapes)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def embeddings(size):
    return dict.fromkeys("abc", jax.ShapeDtypeStruct((size, DIM), jnp.float32))


def of_the_loss(score, size):
    def mean(x):
        return contrast(score, score.rows(x), score.cols(x), score.matched(x), scale=10.0).mean()

    return temporary_bytes(mean, embeddings(size))


def of_the_engine(score, size):
    """Without what leads from embeddings to factors, which compiles slowly and knows no pairs."""
    rows, cols = (
        jax.eval_shape(score.rows, embeddings(size)),
        jax.eval_shape(score.cols, embeddings(size)),
    )

    def mean(factors, valid, matched):
        rows, cols = (type(side)(f, v) for side, f, v in zip(sides, factors, valid, strict=True))
        return contrast(score, rows, cols, matched, scale=10.0).mean()

    sides = rows, cols
    matched = jax.ShapeDtypeStruct((size,), jnp.float32)
    factors, valid = (rows.factors, cols.factors), (rows.valid, cols.valid)
    return temporary_bytes(mean, factors, valid, matched)


def test_the_whole_loss():
    assert of_the_loss(SCORES["volume"], 32768) < 4 * 32768**2 / 16, "a sixteenth of the matrix"


@pytest.mark.parametrize("name", [name for name in MAIN if name != "direction squared"])
def test_the_engine_with_every_score(name):
    found = [of_the_engine(SCORES[name], size) for size in (8192, 16384, 32768)]
    assert found[1] / found[0] <= 2.2 and found[2] / found[1] <= 2.2, found
    assert found[2] < 4 * 32768**2 / 8, "less than an eighth of one score matrix"


def compiled_on_mesh(name, devices, local, strategy):
    """Loss and gradient with `local` examples on each device."""
    score, engine = SCORES[name], Engine(strategy, tile=64)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, P("data"))

    def part(x):
        sides = score.rows(x), score.cols(x)
        if name == "direction":
            sides = sides[0], None
        return contrast(
            score, *sides, score.matched(x), scale=10.0, axis_name="data", engine=engine
        )

    def mean(x):
        return jax.shard_map(part, mesh=mesh, in_specs=P("data"), out_specs=P("data"))(x).mean()

    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split),
        embeddings(local * devices),
    )
    return jax.jit(jax.value_and_grad(mean)).lower(shapes).compile()


@pytest.mark.parametrize("name", ["volume", "direction"])
def test_a_ring_s_memory_does_not_grow_with_the_devices(name):
    two, eight = (compiled_on_mesh(name, n, 512, "ring").memory_analysis() for n in (2, 8))
    assert eight.temp_size_in_bytes <= 1.05 * two.temp_size_in_bytes


@pytest.mark.parametrize("name", ["volume", "direction"])
def test_a_ring_gathers_no_columns(name):
    def collectives(strategy):
        text = compiled_on_mesh(name, 8, 512, strategy).as_text()
        return set(re.findall(r" (all-gather|collective-permute)(?:-start)?\(", text))

    assert collectives("ring") == {"collective-permute"}
    assert collectives("gather") == {"all-gather"}


def test_gathering_takes_the_columns_and_their_gradient():
    """Of the volume: two vectors an example, in float32."""
    two, eight = (
        compiled_on_mesh("volume", n, 512, "gather").memory_analysis().temp_size_in_bytes
        for n in (2, 8)
    )
    columns = 512 * 2 * DIM * 4
    assert eight - two <= 1.1 * 2 * columns * 6

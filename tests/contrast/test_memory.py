"""Memory of the compiled loss and gradient: linear in the batch, flat in the number of devices."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import PartitionSpec as P

from gramalign.contrast import Engine, contrast
from gramalign.scores import Side
from tests.every_score import MAIN, SCORES

DIM, LOCAL = 64, 512


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


def parts(score, size):
    """What the engine is given: factors, then which of them are valid, and matched scores.

    What leads there from embeddings compiles slowly and knows no pairs.
    """
    rows, cols = (jax.eval_shape(side, embeddings(size)) for side in (score.rows, score.cols))
    matched = jax.ShapeDtypeStruct((size,), jnp.float32)
    return (rows.factors, cols.factors), (rows.valid, cols.valid), matched


def losses(score, factors, valid, matched, **options):
    rows, cols = (Side(f, v) for f, v in zip(factors, valid, strict=True))
    if score == SCORES["direction"]:
        cols = None  # the rows again
    return contrast(score, rows, cols, matched, scale=10.0, **options)


def of_the_engine(score, size):
    return temporary_bytes(lambda *x: losses(score, *x).mean(), *parts(score, size))


def test_the_whole_loss():
    assert of_the_loss(SCORES["volume"], 32768) < 4 * 32768**2 / 16, "a sixteenth of the matrix"


@pytest.mark.parametrize("name", MAIN)
def test_the_engine(name):
    small, large = (of_the_engine(SCORES[name], size) for size in (8192, 32768))
    assert large / small <= 4.4, (small, large)
    assert large < 4 * 32768**2 / 8, "less than an eighth of one score matrix"


def largest(jaxpr):
    """Numbers in the largest array that is made anywhere in a program."""
    numbers = [0]
    for equation in jaxpr.eqns:
        numbers += [out.aval.size for out in equation.outvars]
        for value in jax.tree.leaves(list(equation.params.values())):
            if isinstance(value, ClosedJaxpr | Jaxpr):
                numbers.append(largest(value.jaxpr if isinstance(value, ClosedJaxpr) else value))
    return max(numbers)


@pytest.mark.parametrize("name", MAIN)
def test_a_tile_of_every_score(name):
    """All that the engine takes of a Score. Nothing in it has a number for each pair and dimension.

    Forward and backward, as traced; the engine's own memory knows no Scores.
    """
    score, size = SCORES[name], 1024
    rows, cols = (
        jax.eval_shape(side, embeddings(size)).factors for side in (score.rows, score.cols)
    )

    def slopes(rows, cols, along):
        return jax.vjp(score.tile, rows, cols)[1](along)

    along = jax.ShapeDtypeStruct((size, size), jnp.float32)
    assert largest(jax.make_jaxpr(slopes)(rows, cols, along).jaxpr) <= 9 * size * size


@cache
def on_mesh(name, devices, strategy):
    """Loss and gradient with LOCAL examples on each device: temporary bytes, collectives."""
    score, engine = SCORES[name], Engine(strategy, tile=64)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, P("data"))

    def on_device(*x):
        return losses(score, *x, axis_name="data", engine=engine)

    whole = jax.shard_map(on_device, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split),
        parts(score, LOCAL * devices),
    )
    step = jax.value_and_grad(lambda *x: whole(*x).mean())
    program = jax.jit(step).lower(*shapes).compile()
    found = re.findall(r" (all-gather|collective-permute)(?:-start)?\(", program.as_text())
    return program.memory_analysis().temp_size_in_bytes, set(found)


@pytest.mark.parametrize("name", ["volume", "direction"])
def test_a_ring_gathers_no_columns_and_takes_no_more_for_more_devices(name):
    (two, _), (eight, collectives) = (on_mesh(name, n, "ring") for n in (2, 8))
    assert eight <= 1.05 * two
    assert collectives == {"collective-permute"}


def test_gathering_takes_the_columns_and_their_gradient():
    """Of the volume: two vectors an example, in float32."""
    (two, _), (eight, collectives) = (on_mesh("volume", n, "gather") for n in (2, 8))
    assert collectives == {"all-gather"}
    columns = LOCAL * 2 * DIM * 4
    assert eight - two <= 1.1 * 2 * columns * 6

"""Tiles in one Pallas kernel, interpreted, are the tiles that XLA compiles.

That it compiles for TPUs is tested beside their memory, in `test_tpu`.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import Engine, fused
from tests import contrast_engine as engine
from tests.contrast.test_mesh import STRATEGIES, mesh_of
from tests.every_score import MAIN

SIZE = 300  # three blocks of 128 either way, in one kernel or in three
FUSED = [name for name in MAIN if name != "spectral"]


@cache
def derivative(name, how, loss="softmax"):
    """As `engine.derivative`, by any engine."""

    def call(*arguments):
        return engine.weighted(name, *arguments, loss=loss, engine=how)

    return jax.jit(jax.value_and_grad(call, argnums=(0, 1), has_aux=True))


def both(name, tile, *arguments, loss="softmax"):
    """Fused, and as XLA compiles it."""
    arguments = jax.tree.map(jnp.asarray, arguments)
    engines = Engine(tile=tile, implementation="pallas"), Engine()
    return [derivative(name, how, loss)(*arguments) for how in engines]


def compare(name, kind, tile, loss="softmax"):
    found, wanted = both(name, tile, *engine.batch(kind, np.float64, SIZE), loss=loss)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-11), found, wanted)


def assert_near(found, wanted, tolerance):
    """As vectors: entries of a gradient that are small by cancellation have lost more digits."""

    def near(x, y):
        x, y = (np.asarray(x, np.float64) for x in (x, y))
        assert np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y)

    jax.tree.map(near, found, wanted)


@pytest.mark.parametrize("name", FUSED)
def test_every_score_made_of_products(name, x64):
    compare(name, "masked and grouped", 512)


@pytest.mark.parametrize("loss", ["supervised", "sigmoid"])
def test_every_loss(loss, x64):
    compare("cosine of two", "masked and grouped", 128, loss)


@pytest.mark.parametrize("name", ["volume", "direction"])
def test_several_blocks(name, x64):
    compare(name, "masked and grouped", 128)


@pytest.mark.parametrize("kind", ["plain", "nothing grouped"])
def test_other_kinds_of_batches(kind, x64):
    compare("volume", kind, 512)


def test_float32():
    assert_near(*both("volume", 512, *engine.batch("masked and grouped", np.float32, SIZE)), 1e-5)


@pytest.mark.parametrize("name", ["volume", "direction"])
def test_bfloat16(name):
    embeddings, scale, weights, present, groups = engine.batch("plain", np.float32, SIZE)
    narrow = {m: jnp.asarray(x, jnp.bfloat16) for m, x in embeddings.items()}
    found, wanted = both(name, 512, narrow, scale, weights, present, groups)
    (_, values), (slopes, _) = found
    assert {x.dtype for x in slopes.values()} == {np.dtype("bfloat16")}
    assert_near(values, wanted[0][1], 1e-5)
    assert_near(slopes, wanted[1][0], 0.03)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_a_mesh(strategy):
    embeddings, *_ = engine.batch("plain", np.float32, SIZE)
    whole = losses.over_mesh(losses.gram, mesh_of(data=2))

    def total(x, how):
        return jnp.sum(whole(x, anchor="a", engine=how) ** 2)

    found, wanted = (
        jax.value_and_grad(total)(embeddings, how)
        for how in (Engine(strategy, 256, implementation="pallas"), Engine(strategy))
    )
    assert_near(found, wanted, 1e-5)


def test_second_derivatives(x64):
    """By the temperature and by the embeddings."""
    embeddings, scale, *_ = engine.batch("plain", np.float64, SIZE)

    def slope(x, temperature, how):
        loss = lambda t, x: losses.clip(x, anchor="a", temperature=t, engine=how).mean()  # noqa: E731
        return jax.grad(loss)(temperature, x)

    found, wanted = (
        jax.grad(slope, argnums=(0, 1))(embeddings, 1 / scale, how)
        for how in (Engine(tile=512, implementation="pallas"), Engine())
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, wanted)


def test_a_score_with_matrices_as_factors():
    arguments = engine.batch("plain", np.float32)
    with pytest.raises(ValueError, match="SpectralScore.*has arrays of shapes.*leave it at"):
        derivative("spectral", Engine(implementation="pallas"))(*arguments)


def test_a_gpu(monkeypatch):
    monkeypatch.setattr(fused, "platform", lambda: "gpu")
    arguments = engine.batch("plain", np.float32)
    with pytest.raises(ValueError, match="is for TPUs, and this is a gpu"):
        derivative("direction", Engine(implementation="pallas"))(*arguments)

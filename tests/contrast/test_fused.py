"""Tiles in one Pallas kernel, interpreted, are the tiles that XLA compiles.

That it compiles for TPUs is tested beside their memory, in `test_ahead`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, fused
from tests import contrast_engine as engine
from tests.contrast.test_mesh import STRATEGIES, mesh_of
from tests.every_score import MAIN

SIZE = 300  # three blocks of 128 either way, in one kernel or in three
FUSED = [name for name in MAIN if name != "spectral"]
KERNEL = Engine(tile=512, implementation="pallas")


def traced(name, how):
    """Shapes of what comes out; nothing is compiled."""
    batch = engine.batch("masked and grouped", np.float32, SIZE)
    return jax.eval_shape(lambda *x: engine.by_factors(name, how)(*engine.given(name, *x)), *batch)


def both(name, tile, *arguments, loss="softmax"):
    """Fused, and as XLA compiles it."""
    arguments = engine.given(name, *jax.tree.map(jnp.asarray, arguments))
    engines = Engine(tile=tile, implementation="pallas"), Engine()
    return [engine.by_factors(name, how, loss)(*arguments) for how in engines]


def compare(name, kind, tile, loss="softmax"):
    found, wanted = both(name, tile, *engine.batch(kind, np.float64, SIZE), loss=loss)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-11), found, wanted)


def assert_near(found, wanted, tolerance):
    """As vectors: entries of a gradient that are small by cancellation have lost more digits."""

    def near(x, y):
        x, y = (np.asarray(x, np.float64) for x in (x, y))
        assert np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y)

    jax.tree.map(near, found, wanted)


@pytest.mark.parametrize("kind", ["masked and grouped", "plain", "nothing grouped"])
def test_one_kernel(kind, x64):
    """Of factors that are vectors and numbers."""
    compare("volume", kind, 512)


@pytest.mark.parametrize("name", FUSED)
def test_every_score_made_of_products(name):
    """A kernel can be made of it, forward and backward, which tracing tells."""
    assert traced(name, KERNEL) == traced(name, Engine())


@pytest.mark.parametrize("loss", ["supervised", "sigmoid"])
def test_every_loss(loss, x64):
    compare("cosine of two", "masked and grouped", 128, loss)


def test_several_blocks(x64):
    compare("volume", "masked and grouped", 128)


def test_bfloat16():
    embeddings, scale, weights, present, groups = engine.batch("plain", np.float32, SIZE)
    narrow = {m: jnp.asarray(x, jnp.bfloat16) for m, x in embeddings.items()}
    found, wanted = both("volume", 512, narrow, scale, weights, present, groups)
    (_, values), (slopes, _) = found
    dtypes = [x.dtype for x in jax.tree.leaves(slopes)]
    assert dtypes == [x.dtype for x in jax.tree.leaves(wanted[1][0])]
    assert "bfloat16" in dtypes
    assert_near(values, wanted[0][1], 1e-5)
    assert_near(slopes, wanted[1][0], 0.03)


def test_products_in_bfloat16():
    """Of factors in float32, which are rounded inside the kernel."""
    arguments = engine.given("volume", *engine.batch("plain", np.float32, SIZE))
    found, wanted, wide = (
        engine.by_factors("volume", how)(*arguments)
        for how in (
            Engine(tile=512, implementation="pallas", precision="bfloat16"),
            Engine(precision="bfloat16"),
            Engine(),
        )
    )
    assert_near(found, wanted, 1e-5)
    with pytest.raises(AssertionError):
        assert_near(wide, wanted, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_a_mesh_in_float32(strategy):
    arguments = engine.given("volume", *engine.batch("masked and grouped", np.float32, SIZE))
    how = Engine(strategy, 256, implementation="pallas")
    found = engine.by_factors("volume", how, mesh=mesh_of(data=2), axis_name="data")(*arguments)
    assert_near(found, engine.by_factors("volume", Engine())(*arguments), 1e-5)


def test_second_derivatives(x64):
    """By the scale, then by that and the factors."""
    arguments = jax.tree.map(jnp.asarray, engine.batch("plain", np.float64, SIZE))
    factors, scale, _, *others = engine.given("cosine of two", *arguments)

    def slope(factors, scale, how):
        def mean(scale):
            return engine.losses_of("cosine of two", factors, scale, *others, engine=how).mean()

        return jax.grad(mean)(scale)

    curved = jax.jit(jax.grad(slope, argnums=(0, 1)), static_argnums=2)
    found, wanted = (curved(factors, scale, how) for how in (KERNEL, Engine()))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, wanted)


def test_a_score_with_matrices_as_factors():
    with pytest.raises(ValueError, match="SpectralScore.*has arrays of shapes.*leave it at"):
        traced("spectral", KERNEL)


def test_a_gpu(monkeypatch):
    monkeypatch.setattr(fused, "platform", lambda: "gpu")
    with pytest.raises(ValueError, match="is for TPUs, but this is a gpu"):
        traced("direction", Engine(tile=256, implementation="pallas"))

"""Tiles of bfloat16 embeddings: multiplied as they are, summed in float32."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.scores.products import product, rounding
from tests import samples
from tests.every_score import MAIN, SCORES, both

BATCH, DIM = 64, 512


def narrow_and_wide():
    """bfloat16 embeddings, and the same numbers in float32."""
    made = samples.embeddings(np.random.default_rng(0), BATCH, DIM, noise=0.7)
    narrow = {name: jnp.asarray(x, jnp.bfloat16) for name, x in made.items()}
    return narrow, {name: x.astype(jnp.float32) for name, x in narrow.items()}


@jax.jit
def everything(embeddings):
    return {name: both(SCORES[name], embeddings) for name in MAIN}


@cache
def measured():
    """Tile and matched scores of every Score: of bfloat16, and of the same in float32."""
    return [jax.tree.map(np.asarray, everything(x)) for x in narrow_and_wide()]


@pytest.mark.parametrize("name", MAIN)
def test_tiles_are_those_of_the_same_numbers_in_float32(name):
    found, wanted = (of_scores[name][0] for of_scores in measured())
    apart = ~np.eye(BATCH, dtype=bool)  # matched pairs do not come from tiles
    np.testing.assert_allclose(found[apart], wanted[apart], atol=2e-3)


@pytest.mark.parametrize("name", MAIN)
def test_matched_scores_lose_nothing(name):
    found, wanted = (of_scores[name][1] for of_scores in measured())
    np.testing.assert_allclose(found, wanted, rtol=3e-7)  # compiled otherwise


@pytest.mark.parametrize("loss", [losses.gram, losses.pmrl])
def test_losses_and_their_derivatives(loss):
    anchor = {} if loss is losses.pmrl else {"anchor": "a"}
    (value, slope), (exact, exact_slope) = (
        jax.jit(jax.value_and_grad(lambda x: loss(x, **anchor).mean()))(x)
        for x in narrow_and_wide()
    )
    np.testing.assert_allclose(value, exact, rtol=1e-3)
    for name, x in exact_slope.items():
        difference = np.asarray(slope[name], np.float32) - np.asarray(x)
        assert np.linalg.norm(difference) <= 0.01 * np.linalg.norm(x)


def test_factors_are_not_widened():
    x = jnp.ones((4, 8), jnp.bfloat16)
    program = jax.jit(jax.grad(lambda x: product(x, 2 * x).sum())).lower(x).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) == 2
    for line in products:
        assert "(tensor<4x8xbf16>" in line or "(tensor<4x4xbf16>" in line
        assert line.endswith("xf32>") or "xf32>" in line.split("->")[1]


def test_second_derivatives():
    x = jnp.asarray(samples.unit(np.random.default_rng(0), 3, 8), jnp.bfloat16)

    def curved(x):
        return jnp.sum(product(x, x) ** 3)

    found, wanted = (
        np.asarray(jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(curved)(x) ** 2)))(x), np.float32)
        for x in (x, x.astype(jnp.float32))
    )
    assert np.linalg.norm(found - wanted) <= 0.05 * np.linalg.norm(wanted)


def test_mixed_dtypes_are_widened():
    x = jnp.ones((2, 3), jnp.bfloat16)
    assert product(x, x.astype(jnp.float32)).dtype == jnp.float32


def test_rounding_is_that_of_the_products():
    narrow, wide = (x["a"] for x in narrow_and_wide())
    assert rounding(wide, wide) == np.finfo(np.float32).eps
    # A basis is rounded to bfloat16 behind the embeddings.
    exact = samples.unit(np.random.default_rng(1), BATCH, DIM, dtype=np.float32)
    error = product(narrow, jnp.asarray(exact, jnp.bfloat16)) - product(wide, jnp.asarray(exact))
    assert np.abs(error).max() <= rounding(narrow, narrow) <= 40 * np.std(error)

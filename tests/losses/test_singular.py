"""Losses and their gradients are finite where the geometry degenerates, however cold they are.

Of every way to compute one; the Scores are tested by themselves.
"""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.scores import VolumeScore
from gramalign.scores.volume import Form
from tests import every_loss, samples

BATCH, DIM = 4, 8
CASES = samples.degenerate_batches(BATCH, DIM)


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_values_and_gradients_are_finite(name):
    def total(x, temperature):
        embeddings = dict(zip("abc", x, strict=True))
        return every_loss.weighted(name, embeddings, temperature, groups=jnp.array([0, 1, 2, 0]))

    derivative = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    mapped = jax.jit(jax.vmap(derivative, in_axes=(0, None)))
    stacked = jnp.asarray(np.stack(list(CASES.values())), jnp.float32)
    for temperature in (0.07, 0.001):
        (_, values), gradients = mapped(stacked, jnp.float32(temperature))
        for i, case in enumerate(CASES):
            assert np.isfinite(values[i]).all(), (case, temperature)
            assert all(np.isfinite(x[i]).all() for x in gradients), (case, temperature)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("form", get_args(Form))
def test_of_a_collapsed_space_every_match_is_one_of_as_many(form, dtype, x64):
    """Whatever resolution matched tuples have, they are no better than their copies."""
    one = samples.unit(np.random.default_rng(0), 1, DIM)
    same = jnp.broadcast_to(jnp.asarray(one, dtype), (BATCH, DIM))
    embeddings = dict.fromkeys("abc", same)
    found = losses.gram(embeddings, anchor="a", form=form, label_smoothing=0.0)
    np.testing.assert_allclose(found, np.log(BATCH), rtol=1e-3)


@pytest.mark.parametrize(
    "dtype, precision", [("float32", None), ("bfloat16", None), ("float32", "bfloat16")]
)
@pytest.mark.parametrize("form", ["log", "root"])
def test_rounding_is_no_leap_of_what_is_steep(form, dtype, precision):
    """In a space that has all but collapsed, never much worse than chance, whatever is rounded."""

    @jax.jit
    def contrasted(embeddings):
        shared = {"anchor": "a", "engine": Engine(precision=precision)}
        gram = losses.gram(embeddings, form=form, label_smoothing=0.0, **shared)
        one_each = {
            "groups": jnp.arange(64),
            "score_of": lambda name: VolumeScore(name, form),
        }
        return gram.mean(), losses.supcon(embeddings, **one_each, **shared).mean()

    for spread in (1e-5, 1e-4, 1e-3, 1e-2, 3e-2):
        rng = np.random.default_rng(0)
        apart = spread * samples.unit(rng, 3, 64, 512)
        rows = samples.unit(rng, 1, 512) + apart
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
        found, other = contrasted(
            {name: jnp.asarray(x, dtype) for name, x in zip("abc", rows, strict=True)}
        )
        assert found < 1.2 * np.log(64)
        # By whatever loss it is contrasted.
        np.testing.assert_allclose(other, found, rtol=1e-3, atol=1e-3)

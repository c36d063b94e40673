"""Losses called outside `jax.jit` are compiled all the same, and once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import samples
from tests.compilations import compilations
from tests.every_loss import EVERY


def batch(seed):
    return samples.as_jax(samples.embeddings(np.random.default_rng(seed), 4, 6))


@pytest.mark.parametrize("name", ["gram", "pmrl", "clip", "vast", "confu", "barybind", "siglip"])
def test_a_second_call_compiles_nothing(name):
    """Nor does another temperature."""
    with compilations() as found:
        EVERY[name](batch(0), temperature=0.1)
    assert found
    with compilations() as found:
        EVERY[name](batch(1), temperature=0.2)
    assert not found


def test_another_weight_compiles_nothing():
    confu = EVERY["confu"]
    half = confu(batch(0), fused_weight=0.5, temperature=0.1)
    with compilations() as found:
        confu(batch(1), fused_weight=0.2, temperature=0.1)
    assert not found
    np.testing.assert_array_equal(
        confu(batch(0), fused_weight=jnp.float32(0.5), temperature=0.1), half
    )


def test_numbers_that_a_program_holds_as_constants():
    """Settings may be constants of a program that traces the embeddings."""
    settings = {"temperature": jnp.float32(0.1), "fused_weight": jnp.float32(0.5)}
    found = jax.jit(lambda x: EVERY["confu"](x, **settings))(batch(0))
    exact = EVERY["confu"](batch(0), temperature=0.1, fused_weight=0.5)
    np.testing.assert_allclose(found, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "setting"),
    [
        (losses.pmrl, "tau_alignment"),
        (EVERY["confu"], "fused_weight"),
        (losses.vicreg, "variance"),
    ],
)
def test_a_number_of_another_dtype_changes_no_dtype(loss, setting, x64):
    embeddings = jax.tree.map(lambda x: x.astype(jnp.float32), batch(0))
    found = loss(embeddings, **{setting: jnp.float64(0.25)})
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, loss(embeddings, **{setting: 0.25}))


def test_double_precision_of_numpy_says_nothing(recwarn):
    embeddings = {name: np.asarray(x, np.float64) for name, x in batch(0).items()}
    found = losses.clip(embeddings, anchor=None, temperature=np.float64(0.1))
    assert found.dtype == jnp.float32 and not recwarn.list


@pytest.mark.parametrize("name", ["clip", "gram"])
def test_the_least_temperature_has_a_derivative(name):
    found = jax.grad(lambda x: EVERY[name](batch(0), temperature=x).sum())(1e-18)
    assert jnp.isfinite(found)


@pytest.mark.parametrize("name", ["clip", "vast", "confu"])
def test_a_constant_that_is_an_array_is_named(name):
    with pytest.raises(TypeError, match="label_smoothing is part of the compiled program"):
        EVERY[name](batch(0), label_smoothing=jnp.float32(0.1))


def test_it_is_still_the_function_that_it_decorates():
    assert losses.gram.__name__ == "gram"
    assert losses.gram.__doc__.startswith("GRAM")
    assert "anchor" in losses.gram.__annotations__

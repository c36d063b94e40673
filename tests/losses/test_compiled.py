"""Losses called outside of `jax.jit` are programs all the same, and made once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import samples
from tests.every_loss import EVERY


@pytest.fixture
def compilations():
    """A list that grows by an entry whenever XLA compiles."""
    found = []

    def note(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def batch(seed):
    return samples.as_jax(samples.embeddings(np.random.default_rng(seed), 4, 6))


@pytest.mark.parametrize("name", ["gram", "pmrl", "clip", "vast", "confu", "barybind", "siglip"])
def test_a_second_call_compiles_nothing(name, compilations):
    """Nor does another temperature."""
    EVERY[name](batch(0), temperature=0.1)
    assert compilations
    del compilations[:]
    EVERY[name](batch(1), temperature=0.2)
    assert not compilations


def test_another_weight_compiles_nothing(compilations):
    confu = EVERY["confu"]
    half = confu(batch(0), fused_weight=0.5, temperature=0.1)
    del compilations[:]
    confu(batch(1), fused_weight=0.2, temperature=0.1)
    assert not compilations
    np.testing.assert_array_equal(
        confu(batch(0), fused_weight=jnp.float32(0.5), temperature=0.1), half
    )


def test_numbers_that_a_program_holds_as_constants():
    """An array that is known is none to compare with, where another is traced."""
    settings = {"temperature": jnp.float32(0.1), "fused_weight": jnp.float32(0.5)}
    found = jax.jit(lambda x: EVERY["confu"](x, **settings))(batch(0))
    exact = EVERY["confu"](batch(0), temperature=0.1, fused_weight=0.5)
    np.testing.assert_allclose(found, exact, rtol=1e-6)


@pytest.mark.parametrize("name", ["clip", "vast", "confu"])
def test_a_constant_that_is_an_array_is_named(name):
    with pytest.raises(TypeError, match="label_smoothing is part of the compiled program"):
        EVERY[name](batch(0), label_smoothing=jnp.float32(0.1))


def test_it_is_still_the_function_that_it_decorates():
    assert losses.gram.__name__ == "gram"
    assert losses.gram.__doc__.startswith("GRAM")
    assert "anchor" in losses.gram.__annotations__

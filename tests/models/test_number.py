import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models import LogitScale, Number


def gradient(log_scale, sign):
    """Of `sign * log(1/temperature)` with respect to the parameter."""
    graphdef, params = nnx.split(LogitScale())

    def loss(params):
        return -sign * jnp.log(nnx.merge(graphdef, params).value)

    params = {"number": jnp.asarray(log_scale, jnp.float32)}
    return float(jax.grad(loss)(params)["number"])


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
def test_it_starts_at_the_given_temperature(temperature):
    np.testing.assert_allclose(LogitScale(temperature).value, temperature, rtol=1e-6)


@pytest.mark.parametrize(("log_scale", "temperature"), [(9.0, 0.01), (-3.0, 1.0)])
def test_the_temperature_stays_within_its_bounds(log_scale, temperature):
    scale = LogitScale()
    scale.number[...] = jnp.asarray(log_scale)
    np.testing.assert_allclose(scale.value, temperature, rtol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_inside_the_bounds_the_gradient_passes(sign):
    np.testing.assert_allclose(gradient(2.0, sign), sign, rtol=1e-5)


@pytest.mark.parametrize("log_scale", [float(np.log(100.0)), 7.0])
def test_at_the_top_only_a_step_down_passes(log_scale):
    # Descent moves against the gradient: a positive one pulls the parameter down.
    np.testing.assert_allclose(gradient(log_scale, 0.1), 0.1, rtol=1e-5)
    assert gradient(log_scale, -0.1) == 0


@pytest.mark.parametrize("log_scale", [0.0, -2.0])
def test_at_the_bottom_only_a_step_up_passes(log_scale):
    np.testing.assert_allclose(gradient(log_scale, -0.1), -0.1, rtol=1e-5)
    assert gradient(log_scale, 0.1) == 0


def test_a_start_outside_the_bounds_is_refused():
    with pytest.raises(ValueError, match=r"temperature is 2.0, expected a value within \[0.01, 1"):
        LogitScale(2.0)
    with pytest.raises(ValueError, match=r"temperature is 0.0, expected a value within \[0.01, 1"):
        LogitScale(0.0)


@pytest.mark.parametrize(("number", "value"), [(-0.2, 0.0), (0.3, 0.3), (1.5, 1.0)])
def test_a_number_stays_within_its_bounds(number, value):
    mix = Number(0.5, low=0.0, high=1.0)
    mix.number[...] = jnp.asarray(number)
    np.testing.assert_allclose(mix.value, value)


def test_a_number_without_bounds():
    assert float(Number(-10.0).value) == -10
    assert float(jax.grad(lambda bias: bias.value)(Number(-10.0)).number[...]) == 1


def test_a_number_that_starts_outside_its_bounds():
    with pytest.raises(ValueError, match=r"start is 1.5, expected a value within \[0.0, 1.0\]"):
        Number(1.5, low=0.0, high=1.0)

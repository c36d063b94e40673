"""Learned numbers: a softmax's temperature, a sigmoid's bias, a mix of two scores."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Number(nnx.Module):
    """A learnable number, kept within bounds.

    It is clamped in the forward pass. At or beyond a bound, the gradient passes only if a descent
    step would move the parameter back inside, so it neither runs away nor gets stuck.

    Args:
        start: initial value.
        low: lower bound.
        high: upper bound.

    Raises:
        ValueError: `start` outside its bounds.

    >>> float(Number(0.5, low=0.0, high=1.0).value)
    0.5
    """

    def __init__(self, start: float, *, low: float = -math.inf, high: float = math.inf):
        if not low <= start <= high:
            raise ValueError(f"start is {start}, expected a value within [{low}, {high}]")
        self.number = nnx.Param(jnp.asarray(start, jnp.float32))
        self.bounds = (low, high)

    @property
    def value(self) -> Float[Array, ""]:
        """The number, within its bounds."""
        return _clamp(self.number[...], *self.bounds)


LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 1.0
"""Of a learned one; the lowest is CLIP's largest scale, 100."""


class LogitScale(Number):
    """A learnable temperature, kept within these bounds.

    The parameter is the logarithm of the inverse temperature, as in CLIP (Radford et al. 2021,
    section 2.5): a step changes the temperature by a factor, however large or small it is.

    Args:
        temperature: initial value.

    Raises:
        ValueError: `temperature` outside its bounds.
    """

    def __init__(self, temperature: float = 0.07):
        low, high = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
        if not low <= temperature <= high:
            raise ValueError(
                f"temperature is {temperature}, expected a value within [{low}, {high}]"
            )
        super().__init__(-math.log(temperature), low=-math.log(high), high=-math.log(low))

    @property
    def value(self) -> Float[Array, ""]:
        """The temperature, within its bounds."""
        return 1 / jnp.exp(super().value)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _clamp(x, low, high):
    return jnp.clip(x, low, high)


def _clamp_forward(x, low, high):
    return _clamp(x, low, high), x


def _clamp_backward(low, high, x, cotangent):
    # Descent moves x against the gradient: outwards at the top where it is negative, and at the
    # bottom where it is positive.
    outwards = ((x >= high) & (cotangent < 0)) | ((x <= low) & (cotangent > 0))
    return (jnp.where(outwards, 0, cotangent),)


_clamp.defvjp(_clamp_forward, _clamp_backward)

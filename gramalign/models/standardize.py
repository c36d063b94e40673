"""Standardisation of raw features by the mean and deviation of the training rows."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float


class Statistic(nnx.Variable):
    """A number measured on the training rows: part of the model, never trained."""


class Standardize(nnx.Module):
    """Shifts and scales every feature to zero mean and unit deviation over the training rows.

    A feature whose deviation is mere rounding of its mean is only shifted: dividing by that
    deviation would blow noise up to the size of a signal.

    Args:
        features: width of the input.
        mean: per-feature mean; None: no shift.
        std: per-feature standard deviation; None: no scaling.

    Raises:
        ValueError: for a statistic without exactly one entry per feature.
    """

    def __init__(
        self,
        features: int,
        mean: Float[np.ndarray, " _"] | None = None,
        std: Float[np.ndarray, " _"] | None = None,
    ):
        for name, value in (("mean", mean), ("std", std)):
            if value is not None and value.shape != (features,):
                raise ValueError(f"{name} has shape {value.shape}, expected ({features},)")
        shift = np.zeros(features) if mean is None else mean
        scale = np.ones(features) if std is None else std
        varies = scale > np.finfo(np.float32).eps * np.abs(shift)
        self.mean = Statistic(jnp.asarray(shift, jnp.float32))
        self.std = Statistic(jnp.asarray(np.where(varies, scale, 1), jnp.float32))

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
        """Returns `(x - mean) / std`."""
        return (x - self.mean[...][None, :]) / self.std[...][None, :]

"""A tower that changes nothing."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Identity(nnx.Module):
    """The features as they are, of modalities that share a space already.

    Such are the embeddings of published models. A run of 0 steps with these towers is evaluated,
    searched and reported like any other.

    Args:
        features: width of the input.
        dim: width of the common space.
        modality: whose tower it is.
        rngs: is not used.

    Raises:
        ValueError: the two widths differ.
    """

    def __init__(self, features: int, dim: int, *, modality: str, rngs: nnx.Rngs):
        if features != dim:
            raise ValueError(
                f"features of {modality} are {features} wide and the common space {dim}, expected "
                f"the same of all modalities: give --model.dim {features}, if they share a space"
            )

    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
        """Gives every row back, in float32; it is not normalised."""
        return x.astype(jnp.float32)

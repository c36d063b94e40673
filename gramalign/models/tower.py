"""One modality's encoder: a perceptron beside a linear path, or that path alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from gramalign.models.linear import HIDDEN, Linear
from gramalign.models.standardize import Standardize


class Tower(nnx.Module):
    """Maps one modality's features into the common space: `W x + mlp(x)`, x standardised.

    The linear path alone is a linear projection such as CCA learns, so training starts from a
    sensible space and the perceptron adds what a linear map cannot express.

    Args:
        features: width of the input.
        dim: width of the common space.
        hidden: width of each hidden layer.
        depth: number of hidden layers; 0: the linear path alone, with a bias.
        dropout: rate of dropout after each hidden layer, in [0, 1).
        dtype: that of the computation; parameters, their derivatives and the output are float32.
        mean: per-feature mean over the training rows.
        std: per-feature standard deviation over the training rows.
        rngs: source of the initial weights.
    """

    def __init__(
        self,
        features: int,
        dim: int,
        *,
        hidden: int,
        depth: int,
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        mean: Float[np.ndarray, " _"] | None = None,
        std: Float[np.ndarray, " _"] | None = None,
        rngs: nnx.Rngs,
    ):
        widths = [features] + [hidden] * depth
        self.standardize = Standardize(features, mean, std)
        ends = {"dtype": dtype, "preferred_element_type": jnp.float32, "rngs": rngs}
        self.linear = Linear(features, dim, use_bias=depth == 0, **ends)
        self.layers = nnx.List(
            [
                Linear(wide, next_wide, dtype=dtype, rngs=rngs)
                for wide, next_wide in itertools.pairwise(widths)
            ]
        )
        self.head = Linear(hidden, dim, **ends) if depth else None
        self.dropout = dropout

    def __call__(
        self,
        x: Float[Array, "batch features"],
        *,
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch dim"]:
        """Encodes a batch; the rows are not normalised.

        Args:
            x: raw features.
            dropout_keys: one per row, `[batch]`, so that an example's dropout depends neither on
                its batch nor on its device; None means evaluation.
        """
        x = self.standardize(x)
        hidden = x
        for depth, layer in enumerate(self.layers):
            hidden = jax.nn.gelu(layer(hidden))
            if dropout_keys is not None and self.dropout > 0:
                hidden = self._drop(hidden, dropout_keys, depth)
            hidden = checkpoint_name(hidden, HIDDEN)
        linear = self.linear(x)
        return linear if self.head is None else linear + self.head(hidden)

    def _drop(self, x, keys, depth):
        def keep(key):
            return jax.random.bernoulli(
                jax.random.fold_in(key, depth), 1 - self.dropout, x.shape[1:]
            )

        return jnp.where(jax.vmap(keep)(keys), x / (1 - self.dropout), 0)

"""Fuses several embeddings into one: a linear map, or a perceptron, of their concatenation."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from gramalign.geometry import normalize
from gramalign.geometry.norms import at_least_float32
from gramalign.scores.sides import mask_of
from gramalign.types import Embeddings, Present


class FusionHead(nnx.Module):
    """Maps some modalities' embeddings to one in the same space, for `losses.vast` and `confu`.

    A linear map is the fusion of VAST (arXiv 2305.18500), a perceptron that of ConFu (arXiv
    2511.21331, whose hidden layer is a ReLU with dropout). Both papers fuse the features before
    their projection into the common space; here the embeddings themselves are fused.

    Args:
        modalities: those to fuse, in this order.
        dim: width of the common space, of every input and of the output.
        hidden: width of the hidden layer; None: a linear map.
        all_needed: whether an example needs all of the modalities (ConFu) or any of them (VAST).
        rngs: source of the initial weights.

    Raises:
        ValueError: without modalities, or with one of them twice.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        dim: int,
        *,
        hidden: int | None = None,
        all_needed: bool = False,
        rngs: nnx.Rngs,
    ):
        if not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be one or more, each once, got {modalities}")
        self.modalities = modalities
        self.dim = dim
        self.all_needed = all_needed
        width = len(modalities) * dim
        self.hidden = None if hidden is None else nnx.Linear(width, hidden, rngs=rngs)
        self.head = nnx.Linear(width if hidden is None else hidden, dim, rngs=rngs)

    def __call__(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> tuple[Float[Array, "batch dim"], Bool[Array, " batch"]]:
        """Fuses a batch.

        Args:
            embeddings: by modality, `[batch, dim]`; absent rows may hold anything, and count as
                zeros. Modalities that this head does not fuse are left alone.
            present: which examples have which modality.

        Returns:
            Unit rows `[batch, dim]` in float32, zeros where an example lacks needed modalities; and
            the mask `[batch]` of the examples that have them.

        Raises:
            ValueError: for a modality that is missing or not `dim` wide.
        """
        parts, masks = [], []
        for name in self.modalities:
            if name not in embeddings:
                raise ValueError(
                    f"embeddings: got {sorted(embeddings)}, expected all of "
                    f"{list(self.modalities)}, which are fused"
                )
            if embeddings[name].shape[1] != self.dim:
                raise ValueError(
                    f"embeddings[{name!r}] is {embeddings[name].shape[1]} wide, expected {self.dim}"
                )
            masks.append(mask_of(embeddings, present, name))
            parts.append(jnp.where(masks[-1][:, None], at_least_float32(embeddings[name]), 0))
        x = jnp.concatenate(parts, axis=1)
        if self.hidden is not None:
            x = jax.nn.gelu(self.hidden(x))
        counted = jnp.all if self.all_needed else jnp.any
        there = counted(jnp.stack(masks), axis=0)
        return jnp.where(there[:, None], normalize(self.head(x)), 0), there

"""Judges whether embeddings are of one example: a perceptron of them and of their products."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gramalign.geometry.norms import at_least_float32
from gramalign.scores.sides import mask_of
from gramalign.types import Embeddings, Present


class MatchingHead(nnx.Module):
    """A logit for each tuple: positive where its embeddings are thought to be of one example.

    Of every modality it sees the embedding and, element by element, its product with the sum of the
    others; then as GRAM's head: a hidden layer with gelu and layer norm. GRAM's sees what a text
    encoder makes of the text with the other modalities' tokens; here, embeddings are all there is.

    Args:
        modalities: those of a tuple, in this order.
        dim: width of the common space.
        hidden: width of the hidden layer.
        rngs: source of the initial weights.

    Raises:
        ValueError: for fewer than two modalities, or one of them twice.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, *, hidden: int, rngs: nnx.Rngs):
        if len(modalities) < 2 or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be two or more, each once, got {modalities}")
        self.modalities = modalities
        self.dim = dim
        self.hidden = nnx.Linear(2 * len(modalities) * dim, hidden, rngs=rngs)
        self.norm = nnx.LayerNorm(hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Judges a batch of tuples.

        Args:
            embeddings: by modality, `[batch, dim]`; absent rows may hold anything, and count as
                zeros.
            present: which tuples have which modality.

        Returns:
            Logits `[batch]`, in float32.

        Raises:
            ValueError: for a modality that is missing or not `dim` wide.
        """
        vectors = []
        for name in self.modalities:
            shape = embeddings[name].shape if name in embeddings else None
            if shape is None or shape[1] != self.dim:
                raise ValueError(
                    f"embeddings[{name!r}]: got {'none' if shape is None else shape}, expected "
                    f"[batch, {self.dim}], as this head judges tuples of {list(self.modalities)}"
                )
            there = mask_of(embeddings, present, name)[:, None]
            vectors.append(jnp.where(there, at_least_float32(embeddings[name]), 0))
        total = sum(vectors[1:], start=vectors[0])
        scale = self.dim**0.5  # elements of unit rows are of this order, and products of its square
        x = [scale * v for v in vectors] + [scale**2 * v * (total - v) for v in vectors]
        hidden = self.norm(jax.nn.gelu(self.hidden(jnp.concatenate(x, axis=1))))
        return self.head(hidden)[:, 0]

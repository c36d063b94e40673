"""An encoder: tokens of the input, a transformer, and one embedding of all its tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from gramalign.models.linear import HIDDEN
from gramalign.models.pretrained.fronts import Inputs
from gramalign.models.pretrained.swin import Swin
from gramalign.models.pretrained.transformer import (
    ACTIVATIONS,
    Attention,
    Perceptron,
    Shape,
    Transformer,
)

Mask = Bool[Array, "batch tokens"] | None


class Encoder(nnx.Module):
    """Maps texts, images, videos or sounds to one embedding each.

    `load` makes one, with pretrained weights. All of its parameters are `nnx.Param`.

    Args:
        kind: what it encodes: "text", "image", "video" or "audio".
        dim: width of its embeddings.
        front: makes tokens and their mask of a batch.
        body: maps tokens.
        pool: makes one token of all, from `(tokens, mask, inputs)`.
        head: maps that token, if not None.
        turns: by what attention turns tokens, from `inputs`, if not None.
    """

    def __init__(
        self,
        kind: str,
        dim: int,
        front: nnx.Module,
        body: Transformer | Swin,
        pool: Callable[[Array, Array | None, Inputs], Array],
        head: Callable[[Array], Array] | None = None,
        turns: Callable[[Inputs], np.ndarray] | None = None,
    ):
        self.kind, self.dim = kind, dim
        self.front, self.body, self.pool, self.head = front, body, pool, head
        self.turns = turns

    def __call__(self, inputs: Inputs) -> Float[Array, "batch dim"]:
        """Encodes a batch, each row by itself.

        Args:
            inputs: arrays by the names that Hugging Face's processors give them. Of texts:
                `input_ids` and `attention_mask` `[batch, tokens]`. Of images: `pixel_values`
                `[batch, channels, height, width]`; of videos with `frames` after `batch`. Of
                sounds: `input_values` `[batch, frames, bands]` (AST, BEATs, ImageBind),
                `input_features` `[batch, 1, frames, bands]` (CLAP), `input_features` `[batch,
                bands, frames]` (Whisper) or `input_values` `[batch, samples]` (wav2vec 2.0, HuBERT,
                WavLM); the latter two, if sounds were padded, with `attention_mask`, of the same
                frames or samples.

        Returns:
            Embeddings in float32, not normalised.

        Raises:
            ValueError: for arrays that are missing or of another shape.
        """
        tokens, mask = self.front(inputs)
        tokens = checkpoint_name(tokens, HIDDEN)
        turns = () if self.turns is None else (self.turns(inputs),)
        pooled = self.pool(self.body(tokens, mask, *turns), mask, inputs)
        return (pooled if self.head is None else self.head(pooled)).astype(jnp.float32)


def first(x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch width"]:
    """The token for the class."""
    return x[:, 0]


def last(x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch width"]:
    """The last token, padding or not."""
    return x[:, -1]


def mean_of_two(x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch width"]:
    """The mean of the tokens for the class and for distillation."""
    return (x[:, 0] + x[:, 1]) / 2


def mean_of_sound(
    x: Float[Array, "batch tokens width"], mask: Mask, inputs: Inputs
) -> Float[Array, "batch width"]:
    """The mean of all tokens but those of silence after the sound, if `inputs` says which."""
    if "attention_mask" in inputs:
        mask = jnp.asarray(inputs["attention_mask"], bool)[:, ::2]  # a token is of two frames
    return mean(x, mask)


def mean(x: Float[Array, "batch tokens width"], mask: Mask, *_) -> Float[Array, "batch width"]:
    """The mean of all tokens but padding, in float32."""
    if mask is None:
        return jnp.mean(x, axis=1, dtype=jnp.float32)
    total = jnp.sum(jnp.where(mask[..., None], x, 0), axis=1, dtype=jnp.float32)
    return total / jnp.maximum(jnp.sum(mask, axis=1, dtype=jnp.float32), 1)[:, None]


@dataclass(frozen=True)
class EndOfText:
    """The first token whose word is `end`, or the one whose word has the largest number if None."""

    end: int | None

    def __call__(
        self, x: Float[Array, "batch tokens width"], mask: Mask, inputs: Inputs
    ) -> Float[Array, "batch width"]:
        """Pools every row."""
        ids = jnp.asarray(inputs["input_ids"])
        ends = jnp.argmax(ids if self.end is None else ids == self.end, axis=1)
        return jnp.take_along_axis(x, ends[:, None, None], axis=1)[:, 0]


class AttentionPool(nnx.Module):
    """What one learned token finds in the others, as in SigLIP's images."""

    def __init__(self, shape: Shape):
        self.probe = nnx.Param(jnp.zeros(shape.width))
        self.attention, self.mlp = Attention(shape), Perceptron(shape)
        self.norm = shape.norm()

    def __call__(self, x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch width"]:
        """Pools every row."""
        probe = self.probe[...]
        asking = jnp.broadcast_to(probe, (x.shape[0], 1, *probe.shape))
        found = self.attention(x, asking=asking.astype(x.dtype))
        return (found + self.mlp(self.norm(found)))[:, 0]


class FirstMapped(nnx.Module):
    """The token for the class after a layer, as BERT was trained to tell whether texts follow."""

    def __init__(self, shape: Shape):
        self.map = shape.linear(shape.width, shape.width)

    def __call__(self, x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch width"]:
        """Pools every row."""
        return jnp.tanh(self.map(x[:, 0]))


class Projection(nnx.Module):
    """A head of two linear maps.

    Args:
        shape: of the transformer before.
        dim: width of what either makes.
        activation: between them, one of `ACTIVATIONS`.
    """

    def __init__(self, shape: Shape, dim: int, activation: str):
        self.first, self.second = shape.linear(shape.width, dim), shape.linear(dim, dim)
        self.activation, self.dim = ACTIVATIONS[activation], dim

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch dim"]:
        """Maps every row."""
        return self.second(self.activation(self.first(x)))

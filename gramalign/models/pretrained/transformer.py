"""The transformer that all pretrained encoders share, with what differs between them."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gramalign.models.linear import Linear
from gramalign.models.tower import HIDDEN

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_fast": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_python": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}
"""By the names that configurations have for them."""

DISTANCES, _FARTHEST = 32, 128
"""Number of ranges of distances, half of them each way, and whence all are in the last."""


@dataclass(frozen=True)
class Shape:
    """A transformer's layers."""

    width: int
    """Of a token."""
    depth: int
    """Number of layers."""
    heads: int
    """Of each attention."""
    hidden: int
    """Width within each perceptron."""
    activation: str
    """Of each perceptron, one of `ACTIVATIONS`."""
    eps: float
    """Added to the variance in each normalisation."""
    dtype: DTypeLike = jnp.float32
    """What layers multiply in; parameters, fronts, norms and attention's weights are float32."""
    norm_first: bool = True
    """Whether attention and perceptron see normalised tokens, or their sums are normalised."""
    causal: bool = False
    """Whether a token sees only those before it."""
    biases: tuple[bool, bool, bool] = (True, True, True)
    """Whether queries, keys and values have biases."""
    gated: bool = False
    """Whether perceptrons multiply two halves of the hidden layer (SwiGLU)."""
    scaled: bool = False
    """Whether each layer's results are scaled, by feature, before they are added."""
    norm_last: bool = True
    """Whether tokens are normalised after all layers, where each layer sees normalised ones."""
    distances: bool = False
    """Whether attention also depends on how far tokens are apart, alike in all layers."""

    def __post_init__(self):
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(
                f"{self.heads} attention heads cannot share a width of {self.width} evenly"
            )

    def linear(self, ins: int, outs: int, rngs: nnx.Rngs, *, bias: bool = True) -> Linear:
        """A linear map."""
        return TokenLinear(ins, outs, use_bias=bias, dtype=self.dtype, rngs=rngs)

    def norm(self, rngs: nnx.Rngs, width: int | None = None) -> "Norm":
        """A normalisation, of tokens or of what has another width."""
        width = self.width if width is None else width
        return Norm(width, epsilon=self.eps, use_fast_variance=False, rngs=rngs)


class TokenLinear(Linear):
    """`Linear`, with its care for derivatives, for rows along any axes."""

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch out"]:
        """Maps every row."""
        y = super().__call__(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], y.shape[-1])


class Norm(nnx.LayerNorm):
    """Normalises in float32, and gives back what dtype it got.

    The variance is that of the differences from the mean, as in torch; flax's default, the mean
    square less the squared mean, loses digits where the mean is large.
    """

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalises every token."""
        return super().__call__(x.astype(jnp.float32)).astype(x.dtype)


class Attention(nnx.Module):
    """Attention of several heads, of tokens to each other or of `asking` tokens to others."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        width = shape.width
        self.query, self.key, self.value = (
            shape.linear(width, width, rngs, bias=bias) for bias in shape.biases
        )
        self.out = shape.linear(width, width, rngs)
        self.heads, self.causal = shape.heads, shape.causal

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        asking: Float[Array, "batch askers width"] | None = None,
        added: Float[Array, "1 heads askers tokens"] | None = None,
    ) -> Float[Array, "batch askers width"]:
        """Attends to the tokens that `mask` has, with `added` to what softmax sees."""
        asking = x if asking is None else asking

        def split(y):
            return y.reshape(*y.shape[:2], self.heads, -1)

        queries, keys, values = split(self.query(asking)), split(self.key(x)), split(self.value(x))
        # Not jax.nn.dot_product_attention: its derivatives mix bfloat16 and float32, an error where
        # promotion is strict.
        fit = jnp.einsum("bqhd,bkhd->bhqk", queries, keys, preferred_element_type=jnp.float32)
        fit = fit / math.sqrt(queries.shape[-1])
        fit = fit if added is None else fit + added
        seen = None if mask is None else mask[:, None, None, :]
        if self.causal:
            before = jnp.tri(*fit.shape[2:], dtype=bool)[None, None]
            seen = before if seen is None else seen & before
        shares = jax.nn.softmax(fit, where=seen, axis=-1).astype(values.dtype)
        found = jnp.einsum("bhqk,bkhd->bqhd", shares, values)
        return self.out(found.reshape(asking.shape))


class Perceptron(nnx.Module):
    """One hidden layer."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        self.up = shape.linear(shape.width, shape.hidden * (1 + shape.gated), rngs)
        self.down = shape.linear(shape.hidden, shape.width, rngs)
        self.activation, self.gated = ACTIVATIONS[shape.activation], shape.gated

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        """Maps every token."""
        hidden = self.up(x)
        if not self.gated:
            return self.down(self.activation(hidden))
        gate, hidden = jnp.split(hidden, 2, axis=-1)
        return self.down(self.activation(gate) * hidden)


class Layer(nnx.Module):
    """Attention, then a perceptron, each added to what it saw."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        self.attention, self.mlp = Attention(shape, rngs), Perceptron(shape, rngs)
        self.attention_norm, self.mlp_norm = shape.norm(rngs), shape.norm(rngs)
        self.norm_first, self.scaled = shape.norm_first, shape.scaled
        if self.scaled:
            self.attention_scale = nnx.Param(jnp.ones(shape.width))
            self.mlp_scale = nnx.Param(jnp.ones(shape.width))

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        added: Float[Array, "1 heads tokens tokens"] | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Maps the tokens that `mask` has; what becomes of the others has no meaning."""
        if not self.norm_first:
            x = self.attention_norm(x + self.attention(x, mask, added=added))
            return self.mlp_norm(x + self.mlp(x))
        seen = self.attention(self.attention_norm(x), mask, added=added)
        x = x + (_times(self.attention_scale, seen) if self.scaled else seen)
        hidden = self.mlp(self.mlp_norm(x))
        return x + (_times(self.mlp_scale, hidden) if self.scaled else hidden)


def _times(scale: nnx.Param, x: Array) -> Array:
    return (scale[...][None, None] * x.astype(jnp.float32)).astype(x.dtype)


class Transformer(nnx.Module):
    """All layers, and a normalisation after them where `Shape` has one.

    Attributes:
        remat: whether each layer is computed again when its derivatives are due. Where
            `jax.checkpoint` holds all layers at once, nothing keeps a compiler from computing all
            of them before the first derivative.
    """

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        self.remat = False
        self.layers = nnx.List([Layer(shape, rngs) for _ in range(shape.depth)])
        self.norm = shape.norm(rngs) if shape.norm_first and shape.norm_last else None
        self.distances = nnx.Embed(DISTANCES, shape.heads, rngs=rngs) if shape.distances else None

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Maps the tokens that `mask` has."""
        added = None
        if self.distances is not None:
            added = jnp.moveaxis(self.distances(jnp.asarray(distances(x.shape[1]))), 2, 0)[None]
        for layer in self.layers:

            def mapped(x, layer=layer):
                return layer(x, mask, added)

            x = checkpoint_name((jax.checkpoint(mapped) if self.remat else mapped)(x), HIDDEN)
        return x if self.norm is None else self.norm(x)


def distances(tokens: int) -> Int[np.ndarray, "tokens tokens"]:
    """In which range the distance of each token (row) to each (column) lies, as in T5.

    The first are of one distance each, the others ever wider.

    >>> distances(12)[0].tolist(), distances(200)[199, ::50].tolist()
    ([0, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24], [15, 15, 15, 13])
    """
    after = np.arange(tokens)[None] - np.arange(tokens)[:, None]
    far, each = np.abs(after), DISTANCES // 2
    exact = each // 2
    wide = np.log(np.maximum(far, 1) / exact) / math.log(_FARTHEST / exact) * (each - exact)
    ranges = np.where(far < exact, far, np.minimum(exact + wide.astype(int), each - 1))
    return np.where(after > 0, each, 0) + ranges

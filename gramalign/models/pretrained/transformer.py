"""The transformer that all pretrained encoders share, with what differs between them."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gramalign.models.linear import HIDDEN, Linear
from gramalign.models.pretrained.unread import KERNEL, NO_KEYS, TABLE

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


@dataclass(frozen=True)
class Distances:
    """How far tokens are apart, in ranges, as in T5: those at first of one distance, then wider."""

    ranges: int = 32
    """How many, half of them each way."""
    farthest: int = 128
    """Whence all are in the last."""
    gate: Literal["tokens", "queries"] | None = None
    """Of what, in each layer, a gate is made that says how much they count; None: they do fully."""

    def __post_init__(self):
        if self.ranges < 4 or self.ranges % 4 or self.farthest <= self.ranges // 4:
            raise ValueError(
                f"got {self.ranges} ranges of distances up to {self.farthest}, expected a positive "
                "multiple of 4, and more than a quarter of it"
            )

    def between(self, tokens: int) -> Int[np.ndarray, "tokens tokens"]:
        """In which range the distance of each token (row) to each (column) lies.

        >>> distances = Distances()
        >>> distances.between(12)[0].tolist(), distances.between(200)[199, ::50].tolist()
        ([0, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24], [15, 15, 15, 13])
        """
        after = np.arange(tokens)[None] - np.arange(tokens)[:, None]
        far, each = np.abs(after), self.ranges // 2
        exact = each // 2
        wide = np.log(np.maximum(far, 1) / exact) / math.log(self.farthest / exact)
        wide = exact + (wide * (each - exact)).astype(int)
        ranges = np.where(far < exact, far, np.minimum(wide, each - 1))
        return np.where(after > 0, each, 0) + ranges


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
    out_bias: bool = True
    """Whether what attention finds is mapped with one."""
    mlp_bias: bool = True
    """Whether perceptrons have them."""
    gated: bool = False
    """Whether perceptrons multiply two halves of the hidden layer (SwiGLU)."""
    scaled: bool = False
    """Whether each layer's results are scaled, by feature, before they are added."""
    norm_last: bool = True
    """Whether tokens are normalised after all layers, where each layer sees normalised ones."""
    distances: Distances | None = None
    """Whether attention also depends on how far tokens are apart, alike in all layers."""
    sink: bool = False
    """Whether attention has a learned key and value beside those of tokens, which have no mask."""
    residual: float = 1.0
    """What tokens are multiplied by before results are added, where sums are normalised."""

    def __post_init__(self):
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(
                f"{self.heads} attention heads cannot share a width of {self.width} evenly"
            )

    def linear(self, ins: int, outs: int, *, bias: bool = True) -> Linear:
        """A linear map."""
        return Linear(ins, outs, use_bias=bias, dtype=self.dtype, **KERNEL)

    def norm(self, width: int | None = None) -> "Norm":
        """A normalisation, of tokens or of what has another width."""
        width = self.width if width is None else width
        return Norm(width, self.eps)


class Norm(nnx.LayerNorm):
    """Normalises in float32, and gives back what dtype it got.

    The variance is that of the differences from the mean, as in torch; flax's default, the mean
    square less the squared mean, loses digits where the mean is large.

    Args:
        width: of what is normalised.
        eps: what is added to the variance.
    """

    def __init__(self, width: int, eps: float):
        super().__init__(width, epsilon=eps, use_fast_variance=False, rngs=NO_KEYS)

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalises every token."""
        return super().__call__(x.astype(jnp.float32)).astype(x.dtype)


class Attention(nnx.Module):
    """Attention of several heads, of tokens to each other or of `asking` tokens to others."""

    def __init__(self, shape: Shape):
        width = shape.width
        self.query, self.key, self.value = (
            shape.linear(width, width, bias=bias) for bias in shape.biases
        )
        self.out = shape.linear(width, width, bias=shape.out_bias)
        self.heads, self.causal = shape.heads, shape.causal
        self.sink_key = nnx.Param(jnp.zeros(width)) if shape.sink else None
        self.sink_value = nnx.Param(jnp.zeros(width)) if shape.sink else None
        self.gated_by = shape.distances.gate if shape.distances else None
        self.gate = Gate(shape.heads, width) if self.gated_by else None

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        asking: Float[Array, "batch askers width"] | None = None,
        added: Float[Array, "#batch heads askers tokens"] | None = None,
        turns: Float[np.ndarray, "2 tokens half"] | None = None,
    ) -> Float[Array, "batch askers width"]:
        """Attends to the tokens that `mask` has, with `added` to what softmax sees.

        What is compared is first turned by `turns`, of tokens that attend to each other.
        """
        asking = x if asking is None else asking

        def split(y):
            return y.reshape(*y.shape[:2], self.heads, -1)

        queries = split(self.query(asking))
        keys = split(_with(self.sink_key, self.key(x)))
        values = split(_with(self.sink_value, self.value(x)))
        if turns is not None:
            queries, keys = _turned(queries, turns), _turned(keys, turns)
        # Not jax.nn.dot_product_attention: its derivatives mix bfloat16 and float32, an error where
        # promotion is strict.
        fit = jnp.einsum("bqhd,bkhd->bhqk", queries, keys, preferred_element_type=jnp.float32)
        fit = fit / math.sqrt(queries.shape[-1])
        if added is not None:
            if self.gate is not None:
                seen = queries if self.gated_by == "queries" else split(asking)
                added = added * self.gate(seen)
            fit = fit + added
        seen = None if mask is None else mask[:, None, None, :]
        if self.causal:
            before = jnp.tri(*fit.shape[2:], dtype=bool)[None, None]
            seen = before if seen is None else seen & before
        shares = jax.nn.softmax(fit, where=seen, axis=-1).astype(values.dtype)
        found = jnp.einsum("bhqk,bkhd->bqhd", shares, values)
        return self.out(found.reshape(asking.shape))


def _with(sink: nnx.Param | None, x: Float[Array, "batch tokens width"]) -> Array:
    if sink is None:
        return x
    last = jnp.broadcast_to(sink[...].astype(x.dtype), (x.shape[0], 1, x.shape[2]))
    return jnp.concatenate([x, last], axis=1)


def _turned(
    x: Float[Array, "batch tokens heads width"], turns: Float[np.ndarray, "2 tokens half"]
) -> Float[Array, "batch tokens heads width"]:
    """Turns each feature of a head's first half with one of its second, in float32."""
    cosines, sines = jnp.asarray(turns)[:, None, :, None]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    pair = [first * cosines - second * sines, second * cosines + first * sines]
    return jnp.concatenate(pair, axis=-1).astype(x.dtype)


class Gate(nnx.Module):
    """How much the distances from a token count in each head, from 1 to 2 at first.

    The gate of WavLM (arXiv 2110.13900), whose two parts are sums of four features each.
    """

    def __init__(self, heads: int, width: int):
        self.map = Linear(width // heads, 8, **KERNEL)
        self.weight = nnx.Param(jnp.ones(heads))

    def __call__(
        self, x: Float[Array, "batch tokens heads features"]
    ) -> Float[Array, "batch heads tokens 1"]:
        """A factor per token and head."""
        parts = self.map(x).reshape(*x.shape[:3], 2, 4)
        parts = jax.nn.sigmoid(jnp.sum(parts, axis=-1))
        reset = parts[..., 1] * self.weight[...][None, None] - 1
        return jnp.swapaxes(parts[..., 0] * reset + 2, 1, 2)[..., None]


class Perceptron(nnx.Module):
    """One hidden layer."""

    def __init__(self, shape: Shape):
        bias = shape.mlp_bias
        self.up = shape.linear(shape.width, shape.hidden * (1 + shape.gated), bias=bias)
        self.down = shape.linear(shape.hidden, shape.width, bias=bias)
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

    def __init__(self, shape: Shape):
        self.attention, self.mlp = Attention(shape), Perceptron(shape)
        self.attention_norm, self.mlp_norm = shape.norm(), shape.norm()
        self.norm_first, self.scaled = shape.norm_first, shape.scaled
        self.residual = shape.residual
        if self.scaled:
            self.attention_scale = nnx.Param(jnp.ones(shape.width))
            self.mlp_scale = nnx.Param(jnp.ones(shape.width))

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        added: Float[Array, "#batch heads tokens tokens"] | None = None,
        turns: Float[np.ndarray, "2 tokens half"] | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Maps the tokens that `mask` has; what becomes of the others has no meaning."""
        if not self.norm_first:
            seen = self.attention(x, mask, added=added, turns=turns)
            x = self.attention_norm(self.residual * x + seen)
            return self.mlp_norm(self.residual * x + self.mlp(x))
        seen = self.attention(self.attention_norm(x), mask, added=added, turns=turns)
        x = x + (_times(self.attention_scale, seen) if self.scaled else seen)
        hidden = self.mlp(self.mlp_norm(x))
        return x + (_times(self.mlp_scale, hidden) if self.scaled else hidden)


def _times(scale: nnx.Param, x: Array) -> Array:
    return (scale[...][None, None] * x.astype(jnp.float32)).astype(x.dtype)


def through(layer: nnx.Module, x: Array, *others: Any, remat: bool) -> Array:
    """What a layer makes of tokens, under the name `HIDDEN`.

    Args:
        layer: the layer.
        x: the tokens.
        others: what else it takes.
        remat: whether it is computed again when its derivatives are due. Where `jax.checkpoint`
            holds all layers at once, nothing keeps a compiler from computing all of them before the
            first derivative.
    """

    def mapped(x):
        return layer(x, *others)

    return checkpoint_name((jax.checkpoint(mapped) if remat else mapped)(x), HIDDEN)


class Transformer(nnx.Module):
    """All layers, and a normalisation after them where `Shape` has one.

    Attributes:
        remat: as for `through`.
    """

    def __init__(self, shape: Shape):
        self.remat = False
        self.layers = nnx.List([Layer(shape) for _ in range(shape.depth)])
        self.norm = shape.norm() if shape.norm_first and shape.norm_last else None
        self.apart = apart = shape.distances
        self.distances = None if apart is None else nnx.Embed(apart.ranges, shape.heads, **TABLE)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Bool[Array, "batch tokens"] | None = None,
        turns: Float[np.ndarray, "2 tokens half"] | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Maps the tokens that `mask` has, which attention turns by `turns`."""
        added = None
        if self.apart is not None and self.distances is not None:
            ranges = jnp.asarray(self.apart.between(x.shape[1]))
            added = jnp.moveaxis(self.distances(ranges), 2, 0)[None]
        for layer in self.layers:
            x = through(layer, x, mask, added, turns, remat=self.remat)
        return x if self.norm is None else self.norm(x)

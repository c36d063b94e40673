"""Low-rank changes of an encoder's kernels: LoRA.

    x W + (x A) B, with A [ins, rank] random and B [rank, outs] zero at first

As in the paper, and not as x (W + A B): then derivatives would pass through one of each whole
kernel, the dearest part of those that low rank is to save.

Source: Hu et al., ICLR 2022, arXiv 2106.09685; there for queries and values, here for all four
kernels of attention. Its factor alpha / rank is 1: it changes what B's learning rate does.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gramalign.models.linear import Linear, affine
from gramalign.models.pretrained.encoder import Encoder

_CHANGED = ("query", "key", "value", "out")


class Change(nnx.Module):
    """What is added to a kernel.

    Args:
        ins: rows of the kernel.
        outs: columns of the kernel.
        rank: of what is added.
        rngs: source of the initial weights.
    """

    def __init__(self, ins: int, outs: int, rank: int, *, rngs: nnx.Rngs):
        self.a = nnx.Param(nnx.initializers.he_uniform()(rngs.params(), (ins, rank), jnp.float32))
        self.b = nnx.Param(jnp.zeros((rank, outs)))


class Changed(nnx.Module):
    """A linear map by a changed kernel.

    Args:
        linear: the map as it was.
        change: what is added to its kernel.
    """

    def __init__(self, linear: Linear, change: Change):
        self.linear, self.change = linear, change

    def __call__(self, x: Float[Array, "batch tokens ins"]) -> Float[Array, "batch tokens outs"]:
        """Maps every token."""
        y = self.linear(x)
        for factor in (self.change.a, self.change.b):
            x = affine(x, factor[...], None, y.dtype)
        return y + x


class LowRank(nnx.Module):
    """A change for each kernel of the attention of an encoder's layers.

    Args:
        encoder: the encoder.
        rank: of the changes, at least 1.
        rngs: source of the initial weights.

    Raises:
        ValueError: a rank below 1, or above what a kernel has.
    """

    def __init__(self, encoder: Encoder, rank: int, *, rngs: nnx.Rngs):
        def made(linear: nnx.Linear) -> Change:
            ins, outs = linear.in_features, linear.out_features
            if not 1 <= rank <= min(ins, outs):
                raise ValueError(f"rank is {rank}, expected 1 to {min(ins, outs)}, or 0 for none")
            return Change(ins, outs, rank, rngs=rngs)

        of_layers = (layer.attention for layer in encoder.body.layers)
        self.layers = nnx.List(
            [nnx.Dict({name: made(getattr(x, name)) for name in _CHANGED}) for x in of_layers]
        )

    def __call__(self, encoder: Encoder) -> Encoder:
        """The encoder with changed kernels; it is not changed itself."""
        changed = nnx.clone(encoder)
        for layer, changes in zip(changed.body.layers, self.layers, strict=True):
            for name, change in changes.items():
                linear = getattr(layer.attention, name)
                setattr(layer.attention, name, Changed(linear, change))
        return changed

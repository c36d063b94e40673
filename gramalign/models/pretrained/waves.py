"""What comes before a transformer of sounds whose samples nothing has analysed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from gramalign.models.pretrained.fronts import Inputs, given
from gramalign.models.pretrained.transformer import ACTIVATIONS, Norm, Shape
from gramalign.models.pretrained.unread import KERNEL, NO_KEYS

_EPS = 1e-5  # of convolutions, whatever the configuration says of the transformer


class Step(NamedTuple):
    """A convolution over time."""

    width: int
    """Number of features that it makes."""
    kernel: int
    """How many frames it sees at once."""
    stride: int
    """From one of these to the next."""


class Convolution(nnx.Module):
    """One of the first convolutions, normalised over time ("group"), over features, or not."""

    def __init__(
        self,
        ins: int,
        step: Step,
        *,
        norm: Literal["group", "layer"] | None,
        activation: str,
        bias: bool,
    ):
        width, kernel, stride = step
        self.conv = nnx.Conv(ins, width, kernel, stride, padding="VALID", use_bias=bias, **KERNEL)
        match norm:
            case "group":
                sizes = {"num_groups": width, "epsilon": _EPS, "use_fast_variance": False}
                self.norm = nnx.GroupNorm(width, **sizes, rngs=NO_KEYS)
            case "layer":
                self.norm = Norm(width, _EPS)
            case None:
                self.norm = None
        self.activation = ACTIVATIONS[activation]

    def __call__(
        self, x: Float[Array, "batch frames ins"], counts: Int[Array, " batch"] | None = None
    ) -> Float[Array, "batch _ outs"]:
        """Maps every sound, of whose frames the first `counts` are no silence after it."""
        x = self.conv(x)
        if isinstance(self.norm, nnx.GroupNorm) and counts is not None:
            there = _first(counts, x.shape[1])[..., None]
            x = self.norm(x, mask=jnp.broadcast_to(there, x.shape))
        elif self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class Neighbours(nnx.Conv):
    """Tells tokens where they are, by adding to each a wide convolution of its neighbours.

    Args:
        width: of a token.
        near: how many tokens it sees.
        groups: into how many groups of features it is divided.
        activation: of the convolution, one of `ACTIVATIONS`.
        scaled: whether it sees tokens after each feature is scaled and shifted.
    """

    def __init__(
        self, width: int, near: int, *, groups: int, activation: str, scaled: bool = False
    ):
        if width % groups:
            raise ValueError(f"{groups} groups cannot share a width of {width} evenly")
        around = ((near // 2, (near - 1) // 2),)
        super().__init__(width, width, near, padding=around, feature_group_count=groups, **KERNEL)
        self.activation = ACTIVATIONS[activation]
        self.scale = nnx.Param(jnp.zeros(width)) if scaled else None
        self.shift = nnx.Param(jnp.zeros(width)) if scaled else None

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Maps every token."""
        seen = x
        if self.scale is not None and self.shift is not None:
            seen = self.scale[...][None, None] * x + self.shift[...][None, None]
        return x + self.activation(super().__call__(seen))


class Waves(nnx.Module):
    """Frames of a sound, from `input_values` and `attention_mask` `[batch, samples]`.

    A sound before silence that is masked becomes the same as alone, but for the shift of `scaled`,
    which near tokens see of the silence, as in Hugging Face's. Its encoders that normalise over
    time hear all of that silence, and want no masks.

    Args:
        shape: of the transformer that follows.
        steps: the convolutions that make frames of samples.
        norm: what normalises them: "group", the first one over time, or "layer", each over its
            features.
        activation: of every convolution, one of `ACTIVATIONS`.
        bias: whether they have biases.
        projection_norm: whether what they make is normalised before it is projected.
        near: as for `Neighbours`.
        groups: likewise.
        scaled: likewise.
    """

    def __init__(
        self,
        shape: Shape,
        steps: Sequence[Step],
        *,
        norm: Literal["group", "layer"],
        activation: str,
        bias: bool,
        projection_norm: bool,
        near: int,
        groups: int,
        scaled: bool = False,
    ):
        self.steps = tuple(steps)
        ins = [1, *(step.width for step in steps)]
        self.layers = nnx.List(
            [
                Convolution(
                    *(wide, step),
                    norm=norm if norm == "layer" or number == 0 else None,
                    activation=activation,
                    bias=bias,
                )
                for number, (wide, step) in enumerate(zip(ins[:-1], steps, strict=True))
            ]
        )
        self.projection_norm = shape.norm(ins[-1]) if projection_norm else None
        self.projection = nnx.Linear(ins[-1], shape.width, **KERNEL)
        around = {"groups": groups, "activation": activation, "scaled": scaled}
        self.places = Neighbours(shape.width, near, **around)
        self.norm = None if shape.norm_first else shape.norm()
        self.dtype = shape.dtype
        self.shortest = 1
        for step in reversed(self.steps):
            self.shortest = (self.shortest - 1) * step.stride + step.kernel

    def __call__(
        self, inputs: Inputs
    ) -> tuple[Float[Array, "batch tokens width"], Bool[Array, "batch tokens"] | None]:
        """Embeds a batch.

        Returns:
            The tokens, and which of them are of a sound, if `inputs` says how many samples are;
            silence comes after a sound, and the first token counts in any case.

        Raises:
            ValueError: for sounds shorter than a frame.
        """
        samples = given(inputs, "input_values", 2)
        if samples.shape[1] < self.shortest:
            raise ValueError(
                f"input_values is {samples.shape[1]} samples long, expected at least "
                f"{self.shortest}"
            )
        x = jnp.asarray(samples).astype(jnp.float32)[..., None]
        counts, mask = None, None
        if "attention_mask" in inputs:
            counts = jnp.sum(given(inputs, "attention_mask", 2), axis=1, dtype=jnp.int32)
        for layer, step in zip(self.layers, self.steps, strict=True):
            if counts is not None:
                counts = jnp.maximum((counts - step.kernel) // step.stride + 1, 1)
            x = layer(x, counts)
        x = self.projection(x if self.projection_norm is None else self.projection_norm(x))
        if counts is not None:
            mask = _first(counts, x.shape[1])
            x = jnp.where(mask[..., None], x, 0)
        x = self.places(x)
        return (x if self.norm is None else self.norm(x)).astype(self.dtype), mask


def _first(counts: Int[Array, " batch"], frames: int) -> Bool[Array, "batch frames"]:
    """Which frames are among the first ones of each sound."""
    return jnp.arange(frames)[None] < counts[:, None]

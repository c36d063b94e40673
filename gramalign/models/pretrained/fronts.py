"""What comes before a transformer: tokens of texts, patches of images and videos, spectra."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from gramalign.models.pretrained.patch_map import PatchMap
from gramalign.models.pretrained.transformer import ACTIVATIONS, Norm, Shape
from gramalign.models.pretrained.unread import KERNEL, TABLE

Inputs = Mapping[str, Array | np.ndarray]
"""A batch as Hugging Face's processors name its arrays: `input_ids`, `pixel_values`, ..."""


class Tokens(nnx.Module):
    """Words and their positions, from `input_ids` and `attention_mask` `[batch, tokens]`.

    Args:
        shape: of the transformer that follows.
        words: number of words.
        places: number of positions.
        kinds: number of kinds of tokens; all are of the first. 0: none.
        pad: the word whose tokens have no position, as in RoBERTa, where positions are counted from
            the one after it; None: positions are counted from 0.
        norm: whether tokens are normalised.
    """

    def __init__(
        self,
        shape: Shape,
        words: int,
        places: int,
        *,
        kinds: int = 0,
        pad: int | None = None,
        norm: bool = False,
    ):
        def table(rows: int) -> nnx.Embed:
            return nnx.Embed(rows, shape.width, **TABLE)

        self.words, self.places = table(words), table(places)
        self.kinds = table(kinds) if kinds else None
        self.norm = shape.norm() if norm else None
        self.pad, self.longest = pad, places - (0 if pad is None else pad + 1)
        if self.longest < 1:
            raise ValueError(
                f"there are {places} positions, expected more: those of words begin after "
                f"pad_token_id, {pad}"
            )
        self.dtype = shape.dtype

    def __call__(
        self, inputs: Inputs
    ) -> tuple[Float[Array, "batch tokens width"], Bool[Array, "batch tokens"] | None]:
        """Embeds a batch.

        Returns:
            The tokens, and which of them are not padding, if `inputs` says so.

        Raises:
            ValueError: for texts longer than there are positions.
        """
        ids = jnp.asarray(given(inputs, "input_ids", 2))
        if ids.shape[1] > self.longest:
            raise ValueError(
                f"input_ids is {ids.shape[1]} tokens long, expected at most {self.longest}"
            )
        mask = None
        if "attention_mask" in inputs:
            mask = jnp.asarray(given(inputs, "attention_mask", 2), bool)
        places = jnp.arange(ids.shape[1])[None]
        if self.pad is not None:
            there = (ids != self.pad).astype(ids.dtype)
            places = jnp.cumsum(there, axis=1, dtype=ids.dtype) * there + self.pad
        x = self.words(ids) + self.places(places)
        if self.kinds is not None:
            x = x + self.kinds(jnp.zeros((1, 1), ids.dtype))
        return (x if self.norm is None else self.norm(x)).astype(self.dtype), mask


class Patches(nnx.Module):
    """Patches of an image, from `pixel_values` `[batch, channels, height, width]`.

    An image of another size than the encoder was trained on is divided into more or fewer patches,
    whose positions are interpolated, as in DINOv2.

    Args:
        shape: of the transformer that follows.
        channels: number of channels.
        size: height and width of the images that the encoder was trained on.
        patch: height and width of a patch.
        stride: from one patch to the next; None: `patch`.
        tokens: number of tokens before the patches, such as the one for the class.
        registers: number of further tokens, which have no position.
        placed: whether the other tokens have one; else attention knows where they are.
        smooth: whether positions are averaged where an image has fewer patches, as in DINOv2 with
            registers.
        bias: whether the patches' linear map has one.
        patch_norm: what is added to the variance where patches are normalised before positions are
            added; None: they are not.
        norm: whether tokens are normalised.
    """

    def __init__(
        self,
        shape: Shape,
        channels: int,
        size: tuple[int, int],
        patch: tuple[int, int],
        *,
        stride: tuple[int, int] | None = None,
        tokens: int = 1,
        registers: int = 0,
        placed: bool = True,
        smooth: bool = False,
        bias: bool = True,
        patch_norm: float | None = None,
        norm: bool = False,
    ):
        self.patch, self.stride = patch, stride or patch
        self.channels = channels
        self.size, self.grid = size, self._grid(size)
        if min(self.grid) < 1:
            raise ValueError(f"a size of {size} has no room for a patch of {patch}")
        self.map = PatchMap(channels, shape.width, patch, self.stride, bias=bias)
        self.patch_norm = None if patch_norm is None else Norm(shape.width, patch_norm)
        self.dtype = shape.dtype
        self.tokens = nnx.Param(jnp.zeros((tokens, shape.width))) if tokens else None
        places = tokens + self.grid[0] * self.grid[1]
        self.places = nnx.Param(jnp.zeros((places, shape.width))) if placed else None
        self.registers = nnx.Param(jnp.zeros((registers, shape.width))) if registers else None
        self.smooth = smooth
        self.norm = shape.norm() if norm else None

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; none is padding.

        Raises:
            ValueError: for another number of channels, or images smaller than a patch.
        """
        pixels = given(inputs, "pixel_values", 4)
        if pixels.shape[1] != self.channels or min(self._grid(pixels.shape[2:])) < 1:
            raise ValueError(
                f"pixel_values has shape {pixels.shape}, expected [batch, {self.channels}, height, "
                f"width] with room for a patch of {self.patch}"
            )
        return self.embed(jnp.moveaxis(jnp.asarray(pixels), 1, -1)), None

    def embed(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _"]:
        """The tokens of images, rows of patches one after the other."""
        grid = self._grid(x.shape[1:3])
        x = self.map(x.astype(jnp.float32)).reshape(x.shape[0], grid[0] * grid[1], -1)
        x = x if self.patch_norm is None else self.patch_norm(x)
        if self.tokens is not None:
            x = jnp.concatenate([_for_each(self.tokens[...], x), x], axis=1)
        if self.places is not None:
            x = x + self._placed(self.places[...], grid)[None]
        if self.registers is not None:  # last, as attention does not see where they are
            x = jnp.concatenate([x, _for_each(self.registers[...], x)], axis=1)
        return (x if self.norm is None else self.norm(x)).astype(self.dtype)

    def _placed(self, places: Array, grid: tuple[int, int]) -> Array:
        if grid == self.grid:
            return places
        first = len(places) - self.grid[0] * self.grid[1]
        patches = places[first:].reshape(*self.grid, -1)
        if self.smooth:
            patches = jax.image.resize(patches, (*grid, patches.shape[2]), "cubic")
        else:
            over, down = (_cubic(*sizes) for sizes in zip(self.grid, grid, strict=True))
            patches = jnp.einsum("oh,pw,hwd->opd", over, down, patches, precision="highest")
        return jnp.concatenate([places[:first], patches.reshape(-1, places.shape[1])])

    def _grid(self, size) -> tuple[int, int]:
        high, wide = (
            (whole - part) // step + 1
            for whole, part, step in zip(size, self.patch, self.stride, strict=True)
        )
        return high, wide


class Spectrum(Patches):
    """Overlapping patches of a spectrogram, from `input_values` `[batch, frames, bands]`."""

    def __init__(self, shape: Shape, size: tuple[int, int], *args, **kwargs):
        super().__init__(shape, 1, size, *args, **kwargs)

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; none is padding.

        Raises:
            ValueError: for another number of frames or bands.
        """
        values = jnp.asarray(spectra(inputs, self.size))
        return self.embed(jnp.swapaxes(values, 1, 2)[..., None]), None


class Tubelets(nnx.Module):
    """Patches through some frames, from `pixel_values` `[batch, frames, channels, height, width]`.

    Args:
        shape: of the transformer that follows.
        video: number of frames and of channels, height and width of all videos.
        patch: number of frames, height and width of a patch.
    """

    def __init__(
        self,
        shape: Shape,
        video: tuple[int, int, int, int],
        patch: tuple[int, int, int],
    ):
        frames, channels, *size = video
        self.map = PatchMap(channels, shape.width, patch, patch)
        self.video, self.frames = video, frames
        self.count = math.prod(
            whole // part for whole, part in zip((frames, *size), patch, strict=True)
        )
        if not self.count:
            raise ValueError(
                f"{frames} frames of {tuple(size)} have no room for a patch of {patch}"
            )
        self.dtype = shape.dtype

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; none is padding.

        Raises:
            ValueError: for another number of frames or channels, or another size.
        """
        pixels = given(inputs, "pixel_values", 5)
        if pixels.shape[1:] != self.video:
            raise ValueError(
                f"pixel_values has shape {pixels.shape}, expected [batch, "
                f"{', '.join(map(str, self.video))}]"
            )
        x = self.map(jnp.moveaxis(jnp.asarray(pixels), 2, -1).astype(jnp.float32))
        x = x.reshape(x.shape[0], self.count, -1)
        return (x + _sinusoids(*x.shape[1:])[None]).astype(self.dtype), None


class Frames(nnx.Module):
    """Frames of a spectrogram, every other one, from `input_features` `[batch, bands, frames]`.

    Args:
        shape: of the transformer that follows.
        bands: number of frequency bands.
        places: number of positions, half as many as there are frames.
    """

    def __init__(self, shape: Shape, bands: int, places: int):
        def over_time(ins: int, step: int) -> nnx.Conv:
            return nnx.Conv(ins, shape.width, 3, step, padding=((1, 1),), **KERNEL)

        self.first, self.second = over_time(bands, 1), over_time(shape.width, 2)
        self.places = nnx.Param(jnp.zeros((places, shape.width)))
        self.bands, self.frames = bands, 2 * places
        self.dtype = shape.dtype

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; silence after a sound is seen like any other.

        Raises:
            ValueError: for another number of frames or bands.
        """
        features = given(inputs, "input_features", 3)
        places = self.places[...]
        if features.shape[1:] != (self.bands, self.frames):
            raise ValueError(
                f"input_features has shape {features.shape}, expected [batch, {self.bands}, "
                f"{self.frames}]"
            )
        gelu = ACTIVATIONS["gelu"]
        x = jnp.swapaxes(jnp.asarray(features, jnp.float32), 1, 2)
        x = gelu(self.first(x))
        x = gelu(self.second(x))
        return (x + places[None]).astype(self.dtype), None


def _for_each(tokens: Array, x: Array) -> Array:
    return jnp.broadcast_to(tokens, (x.shape[0], *tokens.shape))


def spectra(inputs: Inputs, size: tuple[int, int]) -> Array | np.ndarray:
    """The `input_values` `[batch, frames, bands]` of so many bands and frames.

    Raises:
        ValueError: they are missing, or of another shape.
    """
    values = given(inputs, "input_values", 3)
    if values.shape[1:] != size[::-1]:
        raise ValueError(
            f"input_values has shape {values.shape}, expected [batch, {size[1]}, {size[0]}]"
        )
    return values


def given(inputs: Inputs, name: str, rank: int) -> Array | np.ndarray:
    """One of the inputs.

    Raises:
        ValueError: it is missing, or has another number of axes.
    """
    if name not in inputs:
        raise ValueError(f"inputs: got {sorted(inputs)}, expected {name}")
    if inputs[name].ndim != rank:
        raise ValueError(f"{name} has shape {inputs[name].shape}, expected {rank} axes")
    return inputs[name]


def _sinusoids(places: int, width: int) -> np.ndarray:
    """Positions that are not learned: sines and cosines of ever slower waves."""
    waves = np.arange(places)[:, None] / 10000 ** (np.arange(width) // 2 * 2 / width)
    waves[:, 0::2], waves[:, 1::2] = np.sin(waves[:, 0::2]), np.cos(waves[:, 1::2])
    return waves.astype(np.float32)


def _cubic(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Weights of cubic interpolation between borders, as torch has it."""
    weights = np.zeros((new, old), np.float32)
    for column, weight in zip(*taps((np.arange(new) + 0.5) * old / new - 0.5, old), strict=True):
        np.add.at(weights, (np.arange(new), column), weight)
    return weights


def taps(
    at: Float[np.ndarray, " new"], old: int
) -> tuple[Int[np.ndarray, "4 new"], Float[np.ndarray, "4 new"]]:
    """Which of `old` numbers cubic interpolation takes, Keys' with a = -3/4, and their weights.

    Args:
        at: where, from 0, the new numbers are among the old ones.
        old: how many there are; the first and the last go on beyond the border.

    >>> columns, weights = taps(np.array([1.5]), 3)
    >>> columns[:, 0].tolist(), weights[:, 0].tolist()
    ([0, 1, 2, 2], [-0.09375, 0.59375, 0.59375, -0.09375])
    """
    columns = np.floor(at).astype(int) + np.arange(-1, 3)[:, None]
    distance = np.abs(at - columns)
    near = (1.25 * distance - 2.25) * distance**2 + 1
    far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    weights = np.where(distance <= 1, near, far).astype(np.float32)
    return np.clip(columns, 0, old - 1), weights

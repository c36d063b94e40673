"""Swin: a transformer whose tokens see those of their window, in stages of fewer and wider tokens.

Every other layer moves the windows by half their size, so that neighbours meet across borders.
Between stages, four neighbours become one token. Source: Liu et al., arXiv 2103.14030; of the
spectra of sounds, HTS-AT, Chen et al., arXiv 2202.00874.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gramalign.models.pretrained.fronts import Inputs, given, taps
from gramalign.models.pretrained.patch_map import PatchMap
from gramalign.models.pretrained.transformer import Layer, Norm, Shape, through

_EPS = 1e-5  # of what is between the layers, whatever the configuration says of them
_APART = -100.0  # what is added for tokens that only meet because the image is rolled


class Folded(nnx.Module):
    """Patches of a spectrogram, from `input_features` `[batch, 1, frames, bands]`.

    It is stretched over time to the width that the encoder was trained on, each band is scaled, and
    parts that follow each other are put on top of each other, to make a square.

    Args:
        shape: of the first stage.
        bands: number of frequency bands.
        size: height and width of the square, a multiple of `bands`.
        patch: height and width of a patch.
        stride: from one patch to the next.

    Raises:
        ValueError: a size that is no multiple, or patches that fill no square.
    """

    def __init__(
        self,
        shape: Shape,
        bands: int,
        size: int,
        patch: tuple[int, int],
        stride: tuple[int, int],
    ):
        if size % bands:
            raise ValueError(f"spec_size is {size}, expected a multiple of num_mel_bins, {bands}")
        self.bands, self.parts, self.longest = bands, size // bands, size * (size // bands)
        self.scale, self.shift = nnx.Param(jnp.ones(bands)), nnx.Param(jnp.zeros(bands))
        for part, step in zip(patch, stride, strict=True):
            if part < step or (size - step - (part - step) % 2) // step != size // step - 1:
                raise ValueError(
                    f"patch_size is {patch} and patch_stride is {stride}, expected patches as wide "
                    "as the stride, or wider by an even number"
                )
        around = [(part - step) // 2 for part, step in zip(patch, stride, strict=True)]
        self.around = [(0, 0), *((more, more) for more in around), (0, 0)]
        self.map = PatchMap(1, shape.width, patch, stride)
        self.norm = Norm(shape.width, _EPS)
        self.dtype = shape.dtype

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; none is padding.

        Raises:
            ValueError: for another number of bands or channels, or too many frames.
        """
        features = given(inputs, "input_features", 4)
        batch, channels, frames, bands = features.shape
        if (channels, bands) != (1, self.bands) or frames > self.longest:
            raise ValueError(
                f"input_features has shape {features.shape}, expected [batch, 1, at most "
                f"{self.longest}, {self.bands}]"
            )
        x = jnp.asarray(features, jnp.float32)[:, 0]
        columns, weights = taps(np.linspace(0, frames - 1, self.longest), frames)
        x = jnp.sum(x[:, columns] * weights[None, ..., None], axis=1)
        x = x * self.scale[...][None, None] + self.shift[...][None, None]
        x = jnp.swapaxes(x.reshape(batch, self.parts, -1, bands), 2, 3)
        x = self.map(jnp.pad(x.reshape(batch, self.parts * bands, -1, 1), self.around))
        x = self.norm(x.reshape(batch, -1, x.shape[-1]))
        return x.astype(self.dtype), None


class WindowLayer(Layer):
    """A layer whose tokens see those of their window, with what their distance adds.

    Args:
        shape: of the layer.
        grid: rows and columns of tokens, multiples of `window`.
        window: rows and columns of a window.
        shift: by how many the windows are moved.
    """

    def __init__(self, shape: Shape, grid: tuple[int, int], window: int, *, shift: int):
        super().__init__(shape)
        self.places = nnx.Param(jnp.zeros(((2 * window - 1) ** 2, shape.heads)))
        self.grid, self.window, self.shift = grid, window, shift

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Maps the tokens of whole images, row by row."""
        size, (high, wide), shift = self.window, self.grid, self.shift
        batch, tokens, width = x.shape
        x = x.reshape(batch, high, wide, width)
        x = jnp.roll(x, (-shift, -shift), (1, 2)) if shift else x
        x = jnp.swapaxes(x.reshape(batch, high // size, size, wide // size, size, width), 2, 3)
        added = self._added()
        if len(added) > 1:  # of each window, alike in all images
            added = jnp.broadcast_to(added, (batch, *added.shape)).reshape(-1, *added.shape[1:])
        x = super().__call__(x.reshape(-1, size**2, width), added=added)
        x = jnp.swapaxes(x.reshape(batch, high // size, wide // size, size, size, width), 2, 3)
        x = x.reshape(batch, high, wide, width)
        x = jnp.roll(x, (shift, shift), (1, 2)) if shift else x
        return x.reshape(batch, tokens, width)

    def _added(self) -> Float[Array, "windows heads tokens tokens"]:
        added = jnp.moveaxis(self.places[...][offsets(self.window)], 2, 0)[None]
        if not self.shift:
            return added
        sides = jnp.asarray(self._sides())
        return added + jnp.where(sides[:, None] == sides[:, :, None], 0, _APART)[:, None]

    def _sides(self) -> Int[np.ndarray, "windows tokens"]:
        """From which sides of the image the roll has brought each token: others stay apart."""
        rows, columns = (np.arange(side) >= side - self.shift for side in self.grid)
        sides = 2 * rows[:, None] + columns
        high, wide = self.grid[0] // self.window, self.grid[1] // self.window
        sides = sides.reshape(high, self.window, wide, self.window).swapaxes(1, 2)
        return sides.reshape(high * wide, -1)


class Stage(nnx.Module):
    """Layers on one grid, and what makes one token of four after them, if any does.

    Args:
        shape: of the layers.
        grid: rows and columns of tokens.
        window: rows and columns of a window.
        merged: whether four neighbours become one token after the layers.

    Raises:
        ValueError: a grid that has no whole windows, or cannot be halved.
    """

    def __init__(self, shape: Shape, grid: tuple[int, int], window: int, *, merged: bool):
        if any(side % window or side % (1 + merged) for side in grid):
            raise ValueError(
                f"a stage has {grid[0]} x {grid[1]} tokens, expected multiples of the window, "
                f"{window}, even ones before other stages"
            )
        half = window // 2 if min(grid) > window else 0  # a single window has no neighbours
        self.layers = nnx.List(
            [
                WindowLayer(shape, grid, window, shift=number % 2 * half)
                for number in range(shape.depth)
            ]
        )
        self.grid, self.merged = grid, merged
        if merged:
            self.norm = Norm(4 * shape.width, _EPS)
            self.merge = shape.linear(4 * shape.width, 2 * shape.width, bias=False)

    def __call__(
        self, x: Float[Array, "batch tokens width"], *, remat: bool
    ) -> Float[Array, "batch _ _"]:
        """Maps the tokens of whole images, row by row; `remat` as for `through`."""
        for layer in self.layers:
            x = through(layer, x, remat=remat)
        if not self.merged:
            return x
        batch, tokens, width = x.shape
        high, wide = self.grid
        x = x.reshape(batch, high // 2, 2, wide // 2, 2, width).transpose(0, 1, 3, 4, 2, 5)
        return self.merge(self.norm(x.reshape(batch, tokens // 4, 4 * width)))


class Swin(nnx.Module):
    """All stages, and a normalisation after them.

    Args:
        shapes: of each stage's layers, each twice as wide as those before.
        grid: rows and columns of tokens at first.
        window: rows and columns of a window.

    Attributes:
        remat: as for `through`.

    Raises:
        ValueError: as `Stage`.
    """

    def __init__(self, shapes: Sequence[Shape], grid: tuple[int, int], window: int):
        self.remat, self.stages = False, nnx.List()
        for number, shape in enumerate(shapes):
            merged = number + 1 < len(shapes)
            self.stages.append(Stage(shape, grid, window, merged=merged))
            grid = grid[0] // 2, grid[1] // 2
        self.norm = Norm(shapes[-1].width, _EPS)

    @property
    def layers(self) -> list[WindowLayer]:
        """Those of all stages."""
        return [layer for stage in self.stages for layer in stage.layers]

    def __call__(self, x: Float[Array, "batch tokens width"], *_) -> Float[Array, "batch _ _"]:
        """Maps the tokens of whole images, row by row."""
        for stage in self.stages:
            x = stage(x, remat=self.remat)
        return self.norm(x)


def offsets(window: int) -> Int[np.ndarray, "tokens tokens"]:
    """Which of all offsets leads from each token of a window (column) to each (row).

    >>> offsets(2).tolist()
    [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    rows, columns = np.divmod(np.arange(window**2), window)
    down, right = (each[:, None] - each[None] + window - 1 for each in (rows, columns))
    return down * (2 * window - 1) + right

"""What comes before BEATs' transformer: patches of log-mel filter banks."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gramalign.models.pretrained.fronts import Inputs, spectra
from gramalign.models.pretrained.patch_map import PatchMap
from gramalign.models.pretrained.transformer import Shape
from gramalign.models.pretrained.unread import KERNEL
from gramalign.models.pretrained.waves import Neighbours


class FilterBank(nnx.Module):
    """Patches of a spectrogram, from `input_values` `[batch, frames, bands]`, in the order of time.

    Args:
        shape: of the transformer that follows.
        size: number of bands and of frames.
        patch: number of each in a patch.
        width: of a patch, before it is projected to the transformer's.
        bias: whether the patches' linear map has one.
        near: as for `Neighbours`.
        groups: likewise.
    """

    def __init__(
        self,
        shape: Shape,
        size: tuple[int, int],
        patch: int,
        *,
        width: int,
        bias: bool,
        near: int,
        groups: int,
    ):
        if patch < 1 or min(size) < patch:
            raise ValueError(f"a spectrogram of {size} has no patch of {patch}")
        self.size, self.dtype = size, shape.dtype
        sizes = (patch, patch)
        self.map = PatchMap(1, width, sizes, sizes, bias=bias)
        self.map_norm = shape.norm(width)
        projected = width != shape.width
        self.projection = nnx.Linear(width, shape.width, **KERNEL) if projected else None
        self.places = Neighbours(shape.width, near, groups=groups, activation="gelu")
        self.norm = None if shape.norm_first else shape.norm()

    def __call__(self, inputs: Inputs) -> tuple[Float[Array, "batch tokens width"], None]:
        """Embeds a batch.

        Returns:
            The tokens; silence after a sound is seen like any other.

        Raises:
            ValueError: for another number of frames or bands.
        """
        x = self.map(jnp.asarray(spectra(inputs, self.size), jnp.float32)[..., None])
        x = self.map_norm(x.reshape(x.shape[0], -1, x.shape[-1]))
        x = self.places(x if self.projection is None else self.projection(x))
        return (x if self.norm is None else self.norm(x)).astype(self.dtype), None

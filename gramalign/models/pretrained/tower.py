"""A tower that is a pretrained encoder, to be trained further."""

import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from gramalign.decoding.folders import preparing
from gramalign.models.linear import Linear
from gramalign.models.pretrained.filterbank import FilterBank
from gramalign.models.pretrained.fronts import Frames, Inputs, Patches, Spectrum, Tokens, Tubelets
from gramalign.models.pretrained.load import abstract, digest_of_settings, kinds, make, read_weights
from gramalign.models.pretrained.low_rank import LowRank
from gramalign.models.pretrained.swin import Folded
from gramalign.models.pretrained.waves import Waves
from gramalign.models.tower import Tower as FeatureTower


class Tower(nnx.Module):
    """Maps what a pretrained encoder takes into the common space, by a linear head.

    The head begins as the identity where the widths agree, so that encoders that share a space,
    such as CLIP's, begin aligned; and elsewhere at random.

    A row of a modality is the input of its encoder, flattened, as `gramalign features --inputs`
    writes it: the numbers of a text's tokens, -1 for padding; the pixels of an image or of some
    frames; a spectrogram, for Whisper with one more band, 0 after the end of a sound; or samples, 0
    after it. An encoder of images sees each of several frames by itself, and their embeddings are
    averaged.

    Args:
        features: width of a row.
        dim: width of the common space.
        modality: whose tower it is.
        encoders: of every modality, the folder of its encoder, or None for a
            `gramalign.models.Tower` of features, which the other arguments are for.
        rank: of what is added to each kernel of the encoders' attention (LoRA), to be trained in
            their place: give them a learning rate of 0, by a rule such as "towers.photo.encoder";
            0: nothing is.
        dtype: what is multiplied in; parameters and the output are float32.
        remat: whether each of the encoder's layers is computed again when its derivatives are due.
        hidden: as for that tower.
        depth: likewise.
        dropout: likewise.
        mean: likewise.
        std: likewise.
        rngs: source of the initial weights of what is not pretrained.

    Raises:
        FileNotFoundError: a folder that does not exist, or has no `config.json`.
        ValueError: a modality that `encoders` does not name, or an encoder that takes no rows of
            that width; or a rank below 0, or above what its kernels have.
    """

    def __init__(
        self,
        features: int,
        dim: int,
        *,
        modality: str,
        encoders: Mapping[str, str | None],
        rank: int = 0,
        remat: bool = False,
        hidden: int,
        depth: int,
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        mean: Float[np.ndarray, " _"] | None = None,
        std: Float[np.ndarray, " _"] | None = None,
        rngs: nnx.Rngs,
    ):
        if modality not in encoders:
            raise ValueError(
                f"encoders: got {sorted(encoders)}, expected {modality!r} as well: the folder of "
                "its encoder, or None for a tower of features"
            )
        self.folder = encoders[modality]
        if self.folder is None:
            shape = {"hidden": hidden, "depth": depth, "dropout": dropout, "dtype": dtype}
            self.tower = FeatureTower(features, dim, **shape, mean=mean, std=std, rngs=rngs)
            return
        for kind in kinds(self.folder):
            if shape := _shape(abstract(self.folder, kind).front, self.folder, features):
                break
        else:
            raise ValueError(
                f"{modality} has {features} numbers a row, and {self.folder} encodes "
                f"{' and '.join(kinds(self.folder))} of other sizes: make the rows with gramalign "
                "features --inputs, and this encoder"
            )
        self.encoder, self.shape = make(self.folder, kind, dtype=dtype), shape
        self.encoder.body.remat = remat
        self.change = LowRank(self.encoder, rank, rngs=rngs) if rank else None
        ends = {"dtype": dtype, "preferred_element_type": jnp.float32, "rngs": rngs}
        if self.encoder.dim == dim:
            ends["kernel_init"] = lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)
        self.head = Linear(self.encoder.dim, dim, **ends)

    def __call__(
        self,
        x: Float[Array, "batch features"],
        *,
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch dim"]:
        """Encodes a batch; the rows are not normalised.

        Args:
            x: the rows.
            dropout_keys: for a tower of features; encoders have no dropout.
        """
        if self.folder is None:
            return self.tower(x, dropout_keys=dropout_keys)
        encoder = self.encoder if self.change is None else self.change(self.encoder)
        found = encoder(_inputs(encoder.front, x.reshape(-1, *self.shape)))
        return self.head(jnp.mean(found.reshape(x.shape[0], -1, encoder.dim), axis=1))

    def initial_weights(self) -> dict[str, np.ndarray]:
        """The pretrained weights, by their names in this tower.

        Raises:
            FileNotFoundError, ValueError: as `gramalign.models.pretrained.load`.
        """
        if self.folder is None:
            return {}
        found = read_weights(self.folder, self.encoder)
        return {f"encoder.{name}": array for name, array in found.items()}

    def made_of(self) -> str:
        """A digest of what the encoder's folder says of it; weights and tokens play no part."""
        return "" if self.folder is None else digest_of_settings(self.folder, self.encoder.kind)


def _shape(front: nnx.Module, folder: str, features: int) -> tuple[int, ...] | None:
    """The shape of a piece, if rows of that width have whole ones."""
    match front:
        case Tokens():
            return (features,) if features <= front.longest else None
        case Waves():
            return (features,) if features >= front.shortest else None
        case Spectrum() | FilterBank():
            shape = front.size[::-1]
        case Patches():
            shape = (front.channels, *_processed(Path(folder), front.size))
        case Tubelets():
            shape = front.video
        case Frames():
            shape = (front.bands + 1, front.frames)  # the last one is the mask
        case Folded():
            frames, rest = divmod(features, front.bands)
            return None if rest or frames > front.longest else (1, frames, front.bands)
        case _:
            raise AssertionError(front)
    return None if features % math.prod(shape) else shape


def _processed(folder: Path, trained: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what the image processor of a folder makes."""
    path, config = preparing(folder, "image processor")
    crop = config.get("do_center_crop", "crop_size" in config)
    size = config.get("crop_size" if crop else "size")
    match size:
        case {"height": int(height), "width": int(width)}:
            found = height, width
        case int(side) | {"shortest_edge": int(side)}:
            found = side, side
        case _:
            return trained
    if min(found) < 1:
        name = "crop_size" if crop else "size"
        raise ValueError(f"{path}: {name} is {size!r}, expected a height and a width of at least 1")
    return found


def _inputs(front: nnx.Module, pieces: Float[Array, "pieces ..."]) -> Inputs:
    match front:
        case Tokens():
            ids = pieces.astype(jnp.int32)
            there = ids >= 0
            return {"input_ids": jnp.where(there, ids, 0), "attention_mask": there}
        case Waves():
            there = jax.lax.cummax((pieces != 0).astype(jnp.int32), axis=1, reverse=True)
            return {"input_values": pieces, "attention_mask": there}
        case Spectrum() | FilterBank():
            return {"input_values": pieces}
        case Patches() | Tubelets():
            return {"pixel_values": pieces}
        case Frames():
            return {"input_features": pieces[:, :-1], "attention_mask": pieces[:, -1] > 0.5}
        case _:
            return {"input_features": pieces}

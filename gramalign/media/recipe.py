"""How cells of a modality become rows: those of a table, and what is asked of its store later."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from flax import nnx
from jaxtyping import Shaped

from gramalign.decoding.inputs import rows_of
from gramalign.decoding.pieces import Kind, Pieces
from gramalign.decoding.reading import Read, Reading
from gramalign.decoding.wording import TRANSFORMER
from gramalign.files import read_json
from gramalign.media.encoding import Encoding, means
from gramalign.models.pretrained import abstract, kinds
from gramalign.models.pretrained.fronts import Tokens, Tubelets
from gramalign.settings import is_size, read_settings

Dtype = Literal["float32", "bfloat16"]
Load = Callable[[Path, Kind, Dtype], Encoding]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a row depends on besides its cell and its encoder.

    Attributes:
        frames: as for `gramalign.media.features`, as are the others.
        tokens: likewise.
        batch_size: likewise.
        dtype: likewise.
        inputs: likewise.
        on_demand: likewise.

    Raises:
        ValueError: a number below 1, an unknown dtype, or features on demand.
    """

    frames: int = 8
    tokens: int | None = None
    batch_size: int = 64
    dtype: Dtype = "float32"
    inputs: bool = False
    on_demand: bool = False

    def __post_init__(self):
        for name in ("frames", "tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if self.dtype not in get_args(Dtype):
            raise ValueError(f"dtype is {self.dtype!r}, expected {' or '.join(get_args(Dtype))}")
        if self.on_demand and not self.inputs:
            raise ValueError("on_demand is for what encoders take: give inputs as well")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How cells of one modality become rows.

    Attributes:
        reading: how a text, or the path of a file, becomes pieces.
        read: does that.
        pieces: how many a cell has at most; 1 for sounds, whose windows nobody has counted yet.
        at_once: how many frames of a video a piece is; 1 for all but encoders of videos.
        encoding: what pieces are encoded by; None: rows are what encoders take.
    """

    reading: Reading
    read: Read
    pieces: int
    at_once: int
    encoding: Encoding | None

    def make(
        self, cells: Iterable[tuple[int, Pieces]], count: int, *, batch_size: int
    ) -> Shaped[np.ndarray, "count width"]:
        """A row for each cell, zeros for one that is not given.

        Args:
            cells: pieces of cells, and which cell it is, from 0.
            count: number of cells.
            batch_size: pieces, or frames of videos, that are encoded at once.

        Raises:
            ValueError: as `gramalign.decoding.inputs.rows_of`.
        """
        if self.encoding is None:
            return rows_of(cells, count, pieces=self.pieces)
        size = max(1, batch_size // self.at_once)
        return means(cells, count, encoding=self.encoding, batch_size=size)


def taken(kind: Kind, encoder: Path) -> Kind:
    """What an encoder takes: of a video, the frames together or, as images, each by itself."""
    return "image" if kind == "video" and "video" not in kinds(encoder) else kind


def recipe_of(kind: Kind, encoder: Path, options: Options, load: Load) -> Recipe:
    """The recipe for cells of a kind and the encoder in a folder.

    Args:
        kind: what cells are.
        encoder: the folder.
        options: what else rows depend on.
        load: as `gramalign.media.encoding.encoding_of`; the same for all modalities that share one.

    Raises:
        FileNotFoundError: the folder, or a file in it, does not exist.
        ValueError: it has no encoder of that kind, or nothing that prepares it.
    """
    key = encoder, taken(kind, encoder)
    front = abstract(*key).front
    frames, at_once = options.frames if kind == "video" else 1, 1
    if isinstance(front, Tubelets):
        frames = at_once = front.frames
    reading = Reading(
        kind,
        encoder=str(encoder.absolute()),
        model_type=read_json(encoder / "config.json")["model_type"],
        longest=_longest(encoder, front, options.tokens),
        frames=frames,
        together=isinstance(front, Tubelets),
        filled=options.inputs,
        places=front.longest if isinstance(front, Tokens) else 0,
    )
    encoding = None if options.inputs else load(*key, options.dtype)
    return Recipe(reading, reading.reader(), frames // at_once, at_once, encoding)


def _longest(encoder: Path, front: nnx.Module, tokens: int | None) -> int:
    """Most tokens of a text; 0 for what is none."""
    if not isinstance(front, Tokens):
        return 0
    path = encoder / TRANSFORMER
    if tokens is None and path.is_file():
        tokens = read_settings(path).get("max_seq_length")
        if tokens is not None and not is_size(tokens):
            raise ValueError(
                f"{path}: max_seq_length is {tokens!r}, expected a whole number of at least 1, or "
                "null"
            )
    return front.longest if tokens is None else min(front.longest, tokens)

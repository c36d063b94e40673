"""How cells of a modality become rows: those of a table, and what is asked of its store later."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Shaped

from gramalign.decoding.inputs import rows_of
from gramalign.decoding.pieces import EncoderKind, Kind, Pieces
from gramalign.decoding.reading import Read, Reading
from gramalign.files import read_json
from gramalign.media.encoding import Encoding, means
from gramalign.models.pretrained import abstract
from gramalign.models.pretrained.fronts import Tokens

Dtype = Literal["float32", "bfloat16"]
Load = Callable[[Path, EncoderKind, Dtype], Encoding]

_ENCODERS: dict[Kind, EncoderKind]
_ENCODERS = {"text": "text", "image": "image", "video": "image", "audio": "audio"}


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
        encoding: what pieces are encoded by; None: rows are what encoders take.
    """

    reading: Reading
    read: Read
    pieces: int
    encoding: Encoding | None

    def make(
        self, cells: Iterable[tuple[int, Pieces]], count: int, *, batch_size: int
    ) -> Shaped[np.ndarray, "count width"]:
        """A row for each cell, zeros for one that is not given.

        Args:
            cells: pieces of cells, and which cell it is, from 0.
            count: number of cells.
            batch_size: pieces that are encoded at once.

        Raises:
            ValueError: as `gramalign.decoding.inputs.rows_of`.
        """
        if self.encoding is None:
            return rows_of(cells, count, pieces=self.pieces)
        return means(cells, count, encoding=self.encoding, batch_size=batch_size)


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
    key = encoder, _ENCODERS[kind]
    front = abstract(*key).front
    longest = front.longest if isinstance(front, Tokens) else 0
    reading = Reading(
        kind,
        encoder=str(encoder.absolute()),
        model_type=read_json(encoder / "config.json")["model_type"],
        longest=longest if options.tokens is None else min(longest, options.tokens),
        frames=options.frames,
        filled=options.inputs,
    )
    encoding = None if options.inputs else load(*key, options.dtype)
    pieces = options.frames if kind == "video" else 1
    return Recipe(reading, reading.reader(), pieces, encoding)

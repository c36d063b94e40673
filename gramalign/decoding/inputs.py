"""What pretrained encoders take, in the place of what they make of it: a flat row per cell."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64, Shaped

from gramalign.decoding.pictures import spread
from gramalign.decoding.pieces import Pieces

TOKENS, OTHERS = "int32", "float16"
"""Dtypes of rows: numbers of tokens; pixels, spectra and samples."""


def row_of(pieces: Pieces, count: int) -> Shaped[np.ndarray, " width"]:
    """Some of a cell's pieces, flattened, as `gramalign.models.pretrained.Tower` takes them.

    Args:
        pieces: of the cell.
        count: how many to take, spread evenly; of a cell that has fewer, some are taken again.

    Returns:
        The int32 numbers of a text's tokens, -1 for padding; or pixels, spectra or samples, in
        float16. A spectrum with a mask of its frames has it as one more band, 0 after the sound.

    >>> row_of({"input_ids": np.array([[5, 1]]), "attention_mask": np.array([[1, 0]])}, 1).tolist()
    [5, -1]
    >>> row_of({"input_features": np.ones((1, 2, 3)), "attention_mask": [[1, 1, 0]]}, 1).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    name = next(iter(pieces))
    taken = spread(len(pieces[name]), count)
    array, mask = pieces[name][taken], None
    if "attention_mask" in pieces:
        mask = np.asarray(pieces["attention_mask"])[taken]
    if name == "input_ids":
        ids = array if mask is None else np.where(mask != 0, array, -1)
        return ids.astype(TOKENS).reshape(-1)
    if name == "input_features" and mask is not None:
        # No value would do: what an encoder hears of silence plays a part, where it ends as well.
        array = np.concatenate([array, mask[:, None]], axis=1)
    return array.astype(OTHERS).reshape(-1)


def in_range(pieces: Pieces) -> Pieces:
    """The same, if rows have room for their numbers.

    Raises:
        ValueError: one is NaN, Inf, or too large for float16.
    """
    for array in pieces.values():
        if array.dtype.kind == "f" and not (np.abs(array) <= np.finfo(OTHERS).max).all():
            raise ValueError(f"it becomes NaN, Inf or a number too large for {OTHERS}")
    return pieces


def widths_of(
    cells: Iterable[tuple[int, Pieces]], count: int, *, pieces: int
) -> Int64[np.ndarray, "count 1"]:
    """How wide the row of each cell would be; 0 for a cell that is not given.

    Args:
        cells: as for `rows_of`, as are the others.
        count: likewise.
        pieces: likewise.
    """
    found = np.zeros((count, 1), np.int64)
    for cell, some in cells:
        found[cell] = len(row_of(some, pieces))
    return found


def rows_of(
    cells: Iterable[tuple[int, Pieces]], count: int, *, pieces: int
) -> Shaped[np.ndarray, "count width"]:
    """The row of each cell; zeros for a cell that is not given. Without any, the width is 0.

    Args:
        cells: pieces of cells, and which cell it is, from 0.
        count: number of cells.
        pieces: how many to take of each.

    Raises:
        ValueError: for rows of several widths, as of a processor that keeps the shape of images.
    """
    found = np.zeros((count, 0), OTHERS)
    for cell, some in cells:
        row = row_of(some, pieces)
        if not found.size:
            found = np.zeros((count, len(row)), row.dtype)
        if row.shape != found.shape[1:]:
            raise ValueError(several_widths(found.shape[1], len(row)))
        found[cell] = row
    return found


def several_widths(one: int, other: int) -> str:
    """What is wrong, and what to do about it."""
    return (
        f"rows of inputs are {one} and {other} numbers wide: let the encoder's processor make all "
        "images of one size, as by do_center_crop"
    )

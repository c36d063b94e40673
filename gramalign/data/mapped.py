"""Sends memory-mapped arrays to another process: their place in a file, not their contents."""

import mmap
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np


class Place(NamedTuple):
    """Where an array lies in a file."""

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def map(self) -> np.memmap:
        """Maps the array, to be read."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)


def place_of(array: object) -> Place | None:
    """The place of an array, or None unless it was mapped from a file as a whole."""
    # Slices of a mapped array still report its offset, which is not their own.
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return None
    if array.filename is None:
        return None
    order = "C" if array.flags.c_contiguous else "F"
    return Place(Path(array.filename), array.dtype, array.offset, array.shape, order)

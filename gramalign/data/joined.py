"""One modality of several stores, their rows concatenated."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from gramalign.data.store import MappedRows


class JoinedRows:
    """Concatenated arrays; a row is read from its own array only.

    Used behind `MappedRows`, like an array in a file.

    Args:
        parts: one array per store, all of one width; None, which reads as zeros, where a store
            lacks the modality; not all may be None.
        lengths: number of rows of each store.
    """

    def __init__(self, parts: Sequence[np.ndarray | MappedRows | None], lengths: Sequence[int]):
        there = [part for part in parts if part is not None]
        self._parts = parts
        self._starts = [0, *itertools.accumulate(lengths)]
        self.shape = (self._starts[-1], there[0].shape[1])
        self.dtype = _common([part.dtype for part in there])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n width"]:
        found = np.zeros((len(rows), self.shape[1]), self.dtype)
        for part, places, within in self._split(rows):
            found[places] = part[within]
        return found

    @property
    def may_lose(self) -> bool:
        """Whether unreadable rows are left out instead of raising an error."""
        return any(isinstance(part, MappedRows) and part.may_lose for part in self._parts)

    @property
    def bad(self) -> set[int]:
        """All rows that could not be read so far."""
        rows = set()
        for part, start in zip(self._parts, self._starts, strict=False):
            if isinstance(part, MappedRows) and part.bad:
                # `bad` has row numbers of the file, which need not be those of the part.
                rows.update((start + np.flatnonzero(part.lost(slice(None)))).tolist())
        return rows

    def lost(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of these rows proved unreadable when they were read."""
        lost = np.zeros(len(rows), bool)
        for part, places, within in self._split(rows):
            if isinstance(part, MappedRows):
                lost[places] = part.lost(within)
        return lost

    def lose(self, rows: Int[np.ndarray, " n"]) -> None:
        """Records rows as unreadable."""
        for part, _, within in self._split(rows):
            if isinstance(part, MappedRows):
                part.lose(within)

    def _split(self, rows: np.ndarray) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """Each array with some of the rows, their places, and their row numbers in that array."""
        number_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(number_of).tolist():
            if self._parts[number] is not None:
                (places,) = np.nonzero(number_of == number)
                yield self._parts[number], places, rows[places] - self._starts[number]


def _common(dtypes: Sequence[np.dtype]) -> np.dtype:
    try:
        return np.result_type(*dtypes)
    except TypeError:  # bfloat16 has no common type with some
        return np.dtype(np.float32)

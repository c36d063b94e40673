"""The feature store: one array per modality over the same rows, and arrays about the rows."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from gramalign.counted import counted
from gramalign.data.mapped import Place, place_of
from gramalign.data.shares import Mixture

if TYPE_CHECKING:
    from gramalign.data.decoded import DecodedArray
    from gramalign.data.joined import JoinedRows
    from gramalign.data.packed import PackedArray
    from gramalign.data.rows import SourceArray

SPLITS = ("train", "validation", "test")
COLUMNS = ("ids", "labels", "split", "groups")
"""What a store knows of its rows besides their features."""
# The most that is read at a time: features in files are never loaded whole.
_ROWS = 8192
_VALUES = 2**24


class FeatureStoreError(ValueError):
    """Features that cannot be used as they are; the message names the place and the cure."""


class NothingLost:
    """For arrays behind `MappedRows` of which every row that cannot be read is an error."""

    may_lose = False

    @property
    def bad(self) -> set[int]:
        """No row."""
        return set()

    def lost(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """None of them."""
        return np.zeros(len(rows), bool)

    def lose(self, rows: Int[np.ndarray, " n"]) -> None:
        """Does nothing."""


class MappedRows:
    """Some rows of an array in a file, read from it only where they are indexed.

    So taking a part of a store that is larger than memory reads nothing. `np.asarray` reads all of
    it. Another process is told where the file is, and reads it itself.
    """

    def __init__(
        self,
        array: "np.ndarray | PackedArray | DecodedArray | SourceArray | JoinedRows",
        rows: Int[np.ndarray, " n"],
    ):
        self._array = array
        self._rows = rows

    def __reduce__(self):
        return _opened, (place_of(self._array) or self._array, self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, width)."""
        return (len(self._rows), *self._array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """As in the file."""
        return self._array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self._rows[index]  # one number, of one row, as well as several
        return self._array[np.ravel(rows)].reshape(*np.shape(rows), *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a memory-mapped array must be copied: leave copy at None")
        return np.asarray(self[:], dtype=dtype)

    def lost(self, index: Any) -> Bool[np.ndarray, " m"]:
        """Which rows proved unreadable when they were read; only a packed store can have such."""
        rows = self._rows[index]
        if isinstance(self._array, np.ndarray):
            return np.zeros(len(rows), bool)
        return self._array.lost(rows)

    @property
    def may_lose(self) -> bool:
        """Whether unreadable rows are left out instead of raising an error."""
        return not isinstance(self._array, np.ndarray) and self._array.may_lose

    @property
    def bad(self) -> set[int]:
        """All rows of the array that have proved unreadable so far."""
        return set() if isinstance(self._array, np.ndarray) else self._array.bad

    def lose(self, index: Any) -> None:
        """Records rows as unreadable that another process found to be so."""
        if not isinstance(self._array, np.ndarray):
            self._array.lose(self._rows[index])

    def take(self, rows: Int[np.ndarray, " m"]) -> "MappedRows":
        """A view of the same array with fewer or other rows."""
        return MappedRows(self._array, self._rows[rows])


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FeatureStore:
    """Features of n examples in several modalities; row i of everything is example i.

    Made by `open_store`, `from_arrays`, `from_rows`, `digits` and `load`, which check what they are
    given.

    Attributes:
        features: `[n, d_m]` for each modality, any real dtype, memory-mapped where the file allows
            it. Rows that are not present may hold anything.
        present: which rows have the modality; one mask for every modality.
        ids: a unique name for each row.
        labels: the class of each row, integers or strings, or None.
        split: "train", "validation" or "test" for each row, or None.
        groups: rows with equal numbers show the same thing and are never each other's negatives
            (several captions of one video); None: every row stands for itself.
        source: where the features come from, for messages and records.
        mixture: which of the mixed stores each row comes from; None if there is only one store.
    """

    features: dict[str, np.ndarray | MappedRows]
    present: dict[str, Bool[np.ndarray, " n"]]
    ids: Shaped[np.ndarray, " n"]
    labels: Shaped[np.ndarray, " n"] | None = None
    split: Shaped[np.ndarray, " n"] | None = None
    groups: Int[np.ndarray, " n"] | None = None
    source: str = "arrays"
    mixture: Mixture | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        dims = ", ".join(f"{name} {dim}" for name, dim in self.dims.items())
        return f"FeatureStore({self.source}: {counted(len(self), 'row')}; {dims})"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the store's order."""
        return tuple(self.features)

    @property
    def dims(self) -> dict[str, int]:
        """Width d_m of each modality's features."""
        return {name: array.shape[1] for name, array in self.features.items()}

    @property
    def rows_at_once(self) -> int:
        """How many rows to read at a time, so that the features of all fit in memory."""
        return max(1, min(_ROWS, _VALUES // sum(self.dims.values())))

    @property
    def lost(self) -> set[int]:
        """Rows of the packed store behind this one that have proved unreadable so far.

        For a mixture, numbered as its rows: those of one store follow those of the other.
        """
        rows = set()
        for array in self.features.values():
            if isinstance(array, MappedRows):
                rows |= array.bad
        return rows

    def lose(self, rows: Int[np.ndarray, " m"]) -> None:
        """Records rows of this store as lost that another process could not read."""
        for array in self.features.values():
            if isinstance(array, MappedRows):
                array.lose(rows)

    def take(self, rows: Int[np.ndarray, " m"]) -> "FeatureStore":
        """The given rows, in the given order; memory-mapped features stay in their file."""

        def pick(values):
            return None if values is None else values[rows]

        return dataclasses.replace(
            self,
            features={name: _take(array, rows) for name, array in self.features.items()},
            present={name: mask[rows] for name, mask in self.present.items()},
            ids=self.ids[rows],
            labels=pick(self.labels),
            split=pick(self.split),
            groups=pick(self.groups),
            mixture=None if self.mixture is None else self.mixture.take(rows),
        )

    def part(self, name: str) -> "FeatureStore":
        """The rows of one split.

        Args:
            name: "train", "validation", "test", or "all" rows.

        Raises:
            FeatureStoreError: the store has no split, or no row in this part.
        """
        if name == "all":
            return self
        if self.split is None:
            raise FeatureStoreError(
                f"{self.source} does not say which rows are {name!r}: add an array 'split', or "
                "open it with gramalign.data.load, which divides rows by a hash of their ids"
            )
        rows = np.flatnonzero(self.split == name)
        if not len(rows):
            names, counts = np.unique(self.split, return_counts=True)
            there = ", ".join(
                f"{part} ({count})" for part, count in zip(names, counts, strict=True)
            )
            raise FeatureStoreError(
                f"{self.source} has no rows in split {name!r}; it has {there}: mark some rows as "
                f"{name!r} in the array 'split'"
            )
        return self.take(rows)

    def only(self, modalities: Iterable[str]) -> "FeatureStore":
        """The named modalities, in the order given; rows stay, even if they have none of these.

        Raises:
            FeatureStoreError: no name is given, or the store has no modality of this name.
        """
        names = tuple(modalities)
        there = ", ".join(self.modalities)
        if not names:
            raise FeatureStoreError(f"modalities: got none, expected some of {there}")
        for name in names:
            if name not in self.features:
                raise FeatureStoreError(f"{self.source} has no modality {name!r}; it has {there}")
        return dataclasses.replace(
            self,
            features={name: self.features[name] for name in names},
            present={name: self.present[name] for name in names},
        )


def from_file(array: np.ndarray | MappedRows) -> np.ndarray | MappedRows:
    """A memory-mapped array as rows of its file; any other array as it is."""
    return MappedRows(array, np.arange(len(array))) if isinstance(array, np.memmap) else array


def _take(array: np.ndarray | MappedRows, rows: np.ndarray) -> np.ndarray | MappedRows:
    array = from_file(array)
    return array.take(rows) if isinstance(array, MappedRows) else array[rows]


def _opened(array: Any, rows: np.ndarray) -> MappedRows:
    return MappedRows(array.map() if isinstance(array, Place) else array, rows)

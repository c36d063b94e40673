"""Feature stores of rows that code of your own reads."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import grain
import numpy as np
from jaxtyping import Bool, Int, Shaped

from gramalign.counted import counted
from gramalign.data.files import Located
from gramalign.data.last_read import LastRead
from gramalign.data.opening import (
    MASK,
    check_modalities,
    checked_columns,
    finite_rows,
    is_real,
)
from gramalign.data.store import (
    COLUMNS,
    FeatureStore,
    FeatureStoreError,
    MappedRows,
    NothingLost,
)
from gramalign.imported import placed

_CALLED: ContextVar[str | None] = ContextVar("called", default=None)
_THREADS = 16  # as Grain has, however few cores there are: rows also wait for disks
_PARTS = 64  # of a batch: rows take different times


def from_rows(
    rows: grain.sources.RandomAccessDataSource,
    columns: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> FeatureStore:
    """Makes a store of rows that code of your own reads or computes, each whenever it is needed.

    `rows` is what Grain takes for a source, such as a `grain.MapDataset` or an object of a class of
    yours: `len(rows)`, and `rows[i]`, a mapping from modality to numbers `[d_m]`, of a width and
    dtype that all rows share. It must give the same row each time, be safe to call from several
    threads, which read a batch together, and be picklable for `workers`.

    Only one row of each modality is read here, the first one twice, to see that it stays. The
    others are checked when they are read: a NaN is then an error that names the row, whatever
    `on_bad_record` says.

    Args:
        rows: the source.
        columns: arrays about the rows, with the names of `open_arrays`: `ids`, `labels`, `split`,
            `groups`, and `present.MODALITY` for a modality that some rows lack; of those, `rows[i]`
            may have None in its place, or nothing.
        source: what to call it in messages; None: as `load` was asked for it, or the class of
            `rows`.

    Raises:
        FeatureStoreError: no rows, a row that is not as above, or columns that do not fit.

    >>> import numpy as np
    >>> some = [{"text": np.ones(8), "audio": np.ones(4)}, {"text": np.ones(8)}]
    >>> from_rows(some, {"present.audio": np.array([True, False])})
    FeatureStore(list: 2 rows; text 8, audio 4)
    """
    source = source or _CALLED.get() or type(rows).__name__
    number = _length(rows, source)
    arrays = {name: (f"{source}: {name}", np.asarray(x)) for name, x in (columns or {}).items()}
    _check_columns(arrays, number)
    read = _Reader(rows, source)
    first, again = read.mapping(0), read.mapping(0)
    masked = [name.removeprefix(MASK) for name in arrays if name.startswith(MASK)]
    modalities = list(dict.fromkeys([*first, *masked]))
    if not modalities:
        raise FeatureStoreError(f"{source} has no modality in row 0, nor masks that name any")
    for name in first.keys() & set(COLUMNS):
        raise FeatureStoreError(
            f"{source}: row 0 has {name!r}, which describes it: give all of them in columns, as an "
            f"array {name!r}"
        )
    check_modalities(modalities)
    known = checked_columns(arrays, modalities, number, source)
    read.present, read.masked = known["present"], frozenset(masked)
    for name in modalities:
        row = int(np.argmax(read.present[name]))
        values = read.numbers(row, name, first if row == 0 else read.mapping(row))
        if values.ndim != 1 or not len(values):
            raise FeatureStoreError(
                f"{source}: row {row}: {name} has shape {values.shape}, expected [width]: reshape "
                "it to (-1,), or pool all axes but one; rows must come one by one, not in batches, "
                "and what describes them belongs into columns"
            )
        if row == 0 and not np.array_equal(values, np.asarray(again.get(name)), equal_nan=True):
            raise FeatureStoreError(
                f"{source}: row 0 has another {name!r} when it is read again, and no run could be "
                "resumed or measured: draw by the number of the row, or leave it to --augment"
            )
        read.widths[name], read.dtypes[name] = len(values), values.dtype
    features: dict[str, np.ndarray | MappedRows] = {
        name: MappedRows(SourceArray(read, name, number), np.arange(number)) for name in modalities
    }
    return FeatureStore(features=features, source=source, **known)


@contextlib.contextmanager
def called(source: str) -> Iterator[None]:
    """What stores of rows are called in messages, if whoever makes them does not say."""
    token = _CALLED.set(source)
    try:
        yield
    finally:
        _CALLED.reset(token)


def _length(rows: Any, source: str) -> int:
    if not isinstance(rows, grain.sources.RandomAccessDataSource):
        raise FeatureStoreError(
            f"{source} is of type {type(rows).__name__}, expected a source with len(rows) and "
            "rows[i], which an iterator is not: make a list of it, or read rows by their numbers"
        )
    number = len(rows)
    if not 0 < number < sys.maxsize:
        why = "is endless: leave out its repeat()" if number else "has no rows"
        raise FeatureStoreError(f"{source} {why}")
    return number


def _check_columns(arrays: Located, rows: int) -> None:
    for name, (where, array) in arrays.items():
        if name not in COLUMNS and not name.startswith(MASK):
            raise FeatureStoreError(
                f"{where} is no column; these are {', '.join(COLUMNS)} and {MASK}MODALITY"
            )
        if array.shape[:1] != (rows,):
            got = counted(len(array), "row") if array.ndim else "no rows"
            raise FeatureStoreError(f"{where} has {got}, expected {rows}, one for each")
        if name.startswith(MASK) and array.dtype == bool and not array.any():
            raise FeatureStoreError(f"{where} is False everywhere: leave out the modality")


class _Reader:
    """Rows of a source, all modalities at once."""

    def __init__(self, rows: Any, source: str):
        self._rows = rows
        self._source = source
        self.present: dict[str, Bool[np.ndarray, " n"]] = {}
        self.masked: frozenset[str] = frozenset()
        self.widths: dict[str, int] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self.last = LastRead(self._read)

    def __getstate__(self):
        return {name: x for name, x in vars(self).items() if name != "last"}

    def __setstate__(self, state):
        vars(self).update(state)
        self.last = LastRead(self._read)

    def mapping(self, row: int) -> Mapping[str, Any]:
        """A row as the source gives it."""
        with placed(type(self._rows), f"row {row} of {self._source}"):
            found = self._rows[row]
        if not isinstance(found, Mapping):
            raise FeatureStoreError(
                f"{self._source}: row {row} is of type {type(found).__name__}, expected a mapping "
                "from modality to numbers; Grain has None for what a filter leaves out: filter "
                "before there are rows"
            )
        for name in found:
            if not isinstance(name, str):
                raise FeatureStoreError(
                    f"{self._source}: row {row} calls a modality {name!r}, expected a text"
                )
        return found

    def numbers(self, row: int, name: str, given: Mapping[str, Any]) -> np.ndarray:
        """What a row has of a modality."""
        where, values = f"{self._source}: row {row}", given.get(name)
        if values is None:
            cure = f"if rows may lack it, say which by an array '{MASK}{name}' in columns"
            if name in self.masked:
                cure = f"'{MASK}{name}' in columns says that it has"
            raise FeatureStoreError(f"{where} has no {name!r}: {cure}")
        try:
            values = np.asarray(values)
        except (ValueError, TypeError, RuntimeError) as error:  # the latter two of torch
            raise FeatureStoreError(f"{where}: {name!r} is no array: {error}") from error
        if not is_real(values.dtype):
            raise FeatureStoreError(
                f"{where}: {name!r} has dtype {values.dtype}, expected real numbers; what "
                f"describes rows, {', '.join(COLUMNS)}, belongs into columns"
            )
        return values

    def _read(self, rows: Int[np.ndarray, " n"]) -> dict[str, Shaped[np.ndarray, "n width"]]:
        found = {m: np.zeros((len(rows), d), self.dtypes[m]) for m, d in self.widths.items()}

        def fill(places: np.ndarray) -> None:
            for place in places.tolist():
                self._fill(found, place, int(rows[place]))

        with ThreadPoolExecutor(_THREADS) as pool:
            parts = np.array_split(np.arange(len(rows)), max(1, min(_PARTS, len(rows))))
            for _ in pool.map(fill, parts):
                pass
        for name, values in found.items():
            bad = ~finite_rows(values)
            if bad.any():
                raise FeatureStoreError(
                    f"{self._source}: row {rows[np.argmax(bad)]}: {name!r} holds NaN or Inf, or a "
                    f"number too large for float32: mend it, or mark it as missing in an array "
                    f"'present.{name}' in columns"
                )
        return found

    def _fill(self, found: dict[str, np.ndarray], place: int, row: int) -> None:
        given = self.mapping(row)
        for name in given.keys() - self.dtypes.keys():
            if given[name] is not None:
                raise FeatureStoreError(
                    f"{self._source}: row {row} has {name!r}, which row 0 has not: if rows may "
                    f"lack it, say which by an array '{MASK}{name}' in columns"
                )
        for name, dtype in self.dtypes.items():
            if not self.present[name][row]:
                continue
            values, width = self.numbers(row, name, given), self.widths[name]
            if values.dtype != dtype or values.shape != (width,):
                raise FeatureStoreError(
                    f"{self._source}: row {row}: {name!r} is {values.dtype}{list(values.shape)}, "
                    f"others {dtype}[{width}]: all rows need one dtype and width"
                )
            found[name][place] = values


class SourceArray(NothingLost):
    """One modality of a source, as an array whose rows are read when indexed."""

    def __init__(self, read: _Reader, name: str, rows: int):
        self._read = read
        self._name = name
        self.shape = rows, read.widths[name]
        self.dtype = read.dtypes[name]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n width"]:
        return self._read.last(rows)[self._name].copy()  # which stays for whoever asks again

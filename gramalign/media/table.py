"""A table of media: one row per example, whose cells are texts or paths of files."""

import csv
import dataclasses
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from gramalign.counted import counted
from gramalign.data import from_arrays, parquet
from gramalign.data.store import COLUMNS, FeatureStoreError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = ".jsonl"
_KINDS = (*_DELIMITERS, _LINES, parquet.SUFFIX)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, repr=False)
class Table:
    """Rows in the order of the file.

    Attributes:
        path: the file.
        columns: by name, a value per row; None where it has none.
        lines: where each row begins in the file, counted from 1; of a .parquet, its row.
        digest: of the whole file.
    """

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int]
    digest: str

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def undivided(self) -> str:
        """What is wrong with its only column, where that holds several; else empty."""
        return _undivided(self.path, [*self.columns])

    def place(self, row: int) -> str:
        """A row, for messages; numbered from 0, as in a feature store."""
        line = f" (line {self.lines[row]})" if self.path.suffix != parquet.SUFFIX else ""
        return f"{self.path}: row {row}{line}"

    def cells(self, name: str) -> list[str | None]:
        """A column as text; None where a cell is empty.

        Raises:
            ValueError: the table has no such column, or a cell holds something else.
        """
        if name not in self.columns:
            there = ", ".join(map(repr, self.columns))
            cure = self.undivided and f"; {self.undivided}"
            raise ValueError(f"{self.path} has no column {name!r}, expected one of {there}{cure}")
        return [self._text(name, row, value) for row, value in enumerate(self.columns[name])]

    def tell_unused(self, used: Iterable[str]) -> None:
        """Logs the columns that are none of these, as their names may be mistaken."""
        if unused := [repr(name) for name in self.columns if name not in {*used}]:
            _log.info("not used of %s: %s", self.path, ", ".join(unused))

    def _text(self, name: str, row: int, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(
                f"{self.place(row)}: {name} is {value!r}, expected text, a whole number, or null"
            )
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{self.place(row)}: {name} is {text!a}, no UTF-8") from error
        return text if text.strip() else None

    def about_rows(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """The columns that a feature store has under the same names: integers, or text.

        Raises:
            ValueError: a cell is empty, or the column is not what a store expects.
        """
        found = {name: self._values(name) for name in COLUMNS if name in self.columns}
        try:  # the checks that a store would have when all features are there
            from_arrays({"features": np.zeros((len(self), 1), np.float32), **found})
        except FeatureStoreError as error:
            raise ValueError(f"{self.path}: {error}") from error
        return found

    def _values(self, name: str) -> np.ndarray:
        values = []
        for row, value in enumerate(self.cells(name)):
            if value is None:
                raise ValueError(
                    f"{self.place(row)}: {name} is empty: fill it in, or rename the column, so "
                    "that it is not read as the store's"
                )
            values.append(value)
        try:
            numbers = np.array([int(value) for value in values], np.int64)
        except (ValueError, OverflowError):
            return np.array(values)
        # Not 007, which would come back as 7.
        return numbers if list(map(str, numbers.tolist())) == values else np.array(values)


def read_table(path: Path) -> Table:
    """Reads a .csv or .tsv with a header, a .jsonl with one object per line, or a .parquet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another kind, damaged, or has no rows; the message names the line.
    """
    if path.suffix not in _KINDS:
        raise ValueError(f"table is {path}, expected a file that ends in {', '.join(_KINDS)}")
    if not path.is_file():
        raise FileNotFoundError(f"table is {path}, which is not a file")
    if path.suffix == parquet.SUFFIX:
        columns = parquet.read_columns(path)
        lines = list(range(1, 1 + max(map(len, columns.values()), default=0)))
    else:
        columns, lines = _read_text(path)
    if not lines:
        raise ValueError(f"{path} has no rows, expected one per example")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return Table(path, columns, lines, digest)


def _read_text(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}: line {line} is not UTF-8: save the table as UTF-8") from error
    return _read_lines(path, text) if path.suffix == _LINES else _read_csv(path, text)


def _read_csv(path: Path, text: str) -> tuple[dict[str, list[Any]], list[int]]:
    # Strict, as a quote that is never closed would take the rest of the table for one cell.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_DELIMITERS[path.suffix],
        skipinitialspace=True,
        strict=True,
    )
    names, rows, lines = [], [], []
    begin = 1
    try:
        for cells in reader:
            if not names:
                names = [name.strip() for name in cells]
            elif cells:
                if len(cells) != len(names):
                    cure = _undivided(path, names) or "quote cells that hold a delimiter"
                    raise ValueError(
                        f"{path}: line {begin} has {counted(len(cells), 'cell')}, expected "
                        f"{len(names)}, as in the first line; {cure}"
                    )
                rows.append(cells)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}: line {begin} cannot be read ({error}): quote cells as Python's csv does, or "
            "save the table as .jsonl"
        ) from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has several columns called {twice[0]!r}: rename them")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines


def _undivided(path: Path, names: Sequence[str]) -> str:
    wanted = _DELIMITERS.get(path.suffix)
    others = [x for x in ";\t," if len(names) == 1 and x in names[0] and x != wanted]
    return f"cells are divided by {wanted!r}, not {others[0]!r}" if wanted and others else ""


def _read_lines(path: Path, text: str) -> tuple[dict[str, list[Any]], list[int]]:
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}: line {number} is {row!r}, expected an object with a value per column"
            )
        rows.append(row)
        lines.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}, lines

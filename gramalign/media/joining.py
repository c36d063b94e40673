"""Chunks of features become the arrays of a feature store."""

import json
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from gramalign.counted import counted
from gramalign.files import write_text
from gramalign.media.columns import Column
from gramalign.media.making import chunk_ranges
from gramalign.media.table import Table
from gramalign.media.work import Work

BAD = "unreadable.jsonl"
"""A line for each file of a store that could not be read."""

_log = logging.getLogger(__name__)


def join(
    work: Work,
    table: Table,
    columns: Sequence[Column],
    *,
    cells: Mapping[str, int],
    about: Mapping[str, np.ndarray],
) -> None:
    """Writes all arrays of the store.

    Files that could not be read are listed in `unreadable.jsonl`; a row that has nothing else is
    left out.

    Args:
        work: where all chunks are done.
        table: the table.
        columns: those encoded.
        cells: number of cells in a chunk of each.
        about: the store's arrays about all rows of the table.

    Raises:
        ValueError: no row is left, or nothing of a column whose width nobody knows.
    """
    present, bad = {}, []
    for column in columns:
        present[column.name] = np.zeros(len(table), bool)
        present[column.name][column.rows] = True
        for number, chunk in enumerate(chunk_ranges(len(column.cells), cells[column.name])):
            for cell, reason in work.bad(column.name, number).items():
                row = int(column.rows[chunk[cell]])
                present[column.name][row] = False
                bad.append((row, column.name, column.cells[chunk[cell]], reason))
    kept = np.any(list(present.values()), axis=0)
    if bad:
        _tell(work, table, sorted(bad), int((~kept).sum()))
    if not kept.any():
        raise ValueError(f"{table.path}: no file can be read, such as {bad[0][2]!r}: {bad[0][3]}")
    places = np.cumsum(kept) - 1  # of the table's rows in the store
    for column in columns:
        chunks = chunk_ranges(len(column.cells), cells[column.name])
        parts = (work.read(column.name, number).features for number in range(len(chunks)))
        like = next((part for part in parts if part.shape[1]), None)
        if like is None:  # nothing has told how wide they are
            raise ValueError(f"{table.path}: no file of {column.name} can be read: leave it out")
        with work.array(column.name, (int(kept.sum()), like.shape[1]), like.dtype) as array:
            for number, chunk in enumerate(chunks):
                rows, found = column.rows[chunk.start : chunk.stop], work.read(column.name, number)
                there = present[column.name][rows]
                array[places[rows[there]]] = found.features[there]
        if not present[column.name][kept].all():
            work.save(f"present.{column.name}", present[column.name][kept])
    if not kept.all():
        about = {"ids": np.arange(len(table)), **about}  # or others would take their numbers
    for name, values in about.items():
        work.save(name, values[kept])


def _tell(work: Work, table: Table, bad: Sequence[tuple[int, str, str, str]], lost: int) -> None:
    lines = [
        {"row": row, "line": table.lines[row], "column": name, "file": file, "reason": reason}
        for row, name, file, reason in bad
    ]
    write_text(work.folder / BAD, "".join(f"{json.dumps(line)}\n" for line in lines))
    left = f"; {counted(lost, 'row')} that had nothing else left out" if lost else ""
    _log.warning(
        "%s cannot be read and %s as missing, listed in %s%s",
        *(counted(len(bad), "file"), "counts" if len(bad) == 1 else "count", work.out / BAD, left),
    )

"""Encodes a column chunk by chunk, decoding in threads beside the encoder."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from gramalign.decoding.pieces import Pieces
from gramalign.decoding.reading import Read, decoded, shortened
from gramalign.media.columns import Column
from gramalign.media.table import Table
from gramalign.media.work import Chunk, Work

OnBadFile = Literal["error", "missing"]
Make = Callable[[Iterator[tuple[int, Pieces]], int], np.ndarray]
"""From the pieces of cells, which cells they are, and the number of cells, a row for each cell."""
Report = Callable[[str, int, int], None]


def make_chunks(
    table: Table,
    column: Column,
    read: Read,
    make: Make,
    work: Work,
    *,
    cells: int,
    on_bad_file: OnBadFile,
    report: Report,
) -> None:
    """Makes those chunks of a column that are not there yet, or lack files that can be read by now.

    Each is made by itself, so its features do not depend on where an earlier run ended.

    Args:
        table: where the column is from.
        column: the column.
        read: its reader.
        make: its encoder.
        work: where chunks are kept.
        cells: number of cells in a chunk.
        on_bad_file: what becomes of a file that cannot be read: an "error" that names it, or with
            "missing" a cell that counts as empty.
        report: called with the column, the number of its cells that are done, and that of all.

    Raises:
        ValueError: a file cannot be read, or a feature is not finite.
    """
    total = len(column.cells)
    chunks = list(enumerate(chunk_ranges(total, cells)))
    again = _replaced(table, column, read, work, chunks, on_bad_file)
    todo = [
        (number, chunk)
        for number, chunk in chunks
        if number in again or not work.has(column.name, number)
    ]
    done = total - sum(len(chunk) for _, chunk in todo)
    report(column.name, done, total)
    if not todo:
        return
    found = decoded(read, [column.inputs[cell] for _, chunk in todo for cell in chunk])
    for number, chunk in todo:
        bad: dict[int, str] = {}

        def readable(chunk: range = chunk, bad: dict[int, str] = bad) -> Iterator:
            nonlocal done
            for cell, pieces in enumerate(itertools.islice(found, len(chunk))):
                if isinstance(pieces, str):
                    if on_bad_file == "error":
                        raise _unreadable(table, column, chunk[cell], pieces)
                    bad[cell] = pieces
                else:
                    yield cell, pieces
                done += 1
                report(column.name, done, total)

        made = make(readable(), len(chunk))
        finite = np.isfinite(made).all(axis=1)
        if not finite.all():
            cell = chunk[int(np.argmin(finite))]
            raise ValueError(
                f"{table.place(int(column.rows[cell]))}: the encoder {column.encoder} makes NaN or "
                f"Inf of {column.name} {shortened(column.cells[cell])}: replace the file, or leave "
                f"that cell empty and delete {work.folder}, as an edited table begins anew"
            )
        work.write(column.name, number, Chunk(made, bad))
        report(column.name, done, total)


def chunk_ranges(total: int, cells: int) -> list[range]:
    """Numbers of the cells of each chunk.

    >>> chunk_ranges(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + cells, total)) for start in range(0, total, cells)]


def _replaced(
    table: Table,
    column: Column,
    read: Read,
    work: Work,
    chunks: Sequence[tuple[int, range]],
    on_bad_file: OnBadFile,
) -> set[int]:
    """Those finished chunks in which a file that could not be read can be read now."""
    bad = [
        (number, chunk[cell])
        for number, chunk in chunks
        if work.has(column.name, number)
        for cell in work.bad(column.name, number)
    ]
    found = decoded(read, [column.inputs[cell] for _, cell in bad]) if bad else ()
    again = set()
    for (number, cell), pieces in zip(bad, found, strict=True):
        if not isinstance(pieces, str):
            again.add(number)
        elif on_bad_file == "error":
            raise _unreadable(table, column, cell, pieces)
    return again


def _unreadable(table: Table, column: Column, cell: int, reason: str) -> ValueError:
    place, given = table.place(int(column.rows[cell])), shortened(column.cells[cell])
    return ValueError(
        f"{place}: {column.name} {given} cannot be read: {reason}. Replace the file, or "
        "give --on-bad-file missing, which counts it as empty; an edited table would begin anew"
    )

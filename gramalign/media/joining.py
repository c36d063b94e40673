"""Chunks of features become the arrays of a feature store."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from gramalign.counted import counted
from gramalign.data.decoded import Decoding, save_decoded
from gramalign.decoding.inputs import OTHERS, TOKENS, several_widths
from gramalign.files import write_text
from gramalign.media.columns import Column
from gramalign.media.making import chunk_ranges
from gramalign.media.recipe import Recipe
from gramalign.media.table import Table
from gramalign.media.work import Work

BAD = "unreadable.jsonl"
"""A line for each file of a store that could not be read."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Kept:
    """What remains of a table once all files were read.

    Attributes:
        present: of each column, the rows whose cell could be read.
        rows: those that have anything at all.
    """

    present: dict[str, Bool[np.ndarray, " n"]]
    rows: Bool[np.ndarray, " n"]


def kept_of(
    work: Work, table: Table, columns: Sequence[Column], *, cells: Mapping[str, int]
) -> Kept:
    """What remains; files that could not be read are listed in `unreadable.jsonl`.

    Args:
        work: where all chunks are done.
        table: the table.
        columns: those encoded.
        cells: number of cells in a chunk of each.

    Raises:
        ValueError: nothing of a column is left.
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
        if not present[column.name].any():
            *_, file, reason = bad[-1]
            raise ValueError(
                f"{table.path}: no file of {column.name} can be read, such as {file!r}: {reason}. "
                f"Put its files in order, or leave it out and delete {work.folder} to begin anew"
            )
    kept = np.any(list(present.values()), axis=0)
    if bad:
        _tell(work, table, sorted(bad), int((~kept).sum()))
    return Kept(present, kept)


def join(
    work: Work, table: Table, columns: Sequence[Column], kept: Kept, *, cells: Mapping[str, int]
) -> None:
    """Writes the store's features.

    Args:
        work: where all chunks are done.
        table: the table.
        columns: those encoded.
        kept: what remains of it.
        cells: number of cells in a chunk of each.
    """
    places = np.cumsum(kept.rows) - 1  # of the table's rows in the store
    for column in columns:
        chunks = chunk_ranges(len(column.cells), cells[column.name])
        parts = (work.read(column.name, number).features for number in range(len(chunks)))
        like = next(part for part in parts if part.shape[1])  # else nothing has told how wide
        shape = int(kept.rows.sum()), like.shape[1]
        with work.array(column.name, shape, like.dtype) as array:
            for number, chunk in enumerate(chunks):
                rows, found = column.rows[chunk.start : chunk.stop], work.read(column.name, number)
                there = kept.present[column.name][rows]
                if there.any():  # else nothing has told how wide it would be
                    array[places[rows[there]]] = found.features[there]


def list_cells(
    work: Work,
    table: Table,
    columns: Sequence[Column],
    kept: Kept,
    *,
    cells: Mapping[str, int],
    recipes: Mapping[str, Recipe],
    digests: Mapping[str, str],
) -> None:
    """Writes, in the place of features, what they are decoded from.

    Args:
        work: where all chunks are done, whose features are the widths of rows.
        table: the table.
        columns: those whose cells are listed.
        kept: what remains of the table.
        cells: number of cells in a chunk of each.
        recipes: how cells become rows.
        digests: of the encoders' folders.

    Raises:
        ValueError: rows of several widths.
    """
    listed, decodings = {}, {}
    for column in columns:
        chunks = range(len(chunk_ranges(len(column.cells), cells[column.name])))
        parts = [work.read(column.name, number).features[:, 0] for number in chunks]
        widths = np.unique(np.concatenate(parts))
        widths = widths[widths > 0].tolist()
        if len(widths) > 1:
            raise ValueError(several_widths(*widths[:2]))
        texts = np.full(len(table), "", object)
        texts[column.rows] = column.cells
        listed[column.name] = np.where(kept.present[column.name], texts, "")[kept.rows].tolist()
        recipe = recipes[column.name]
        dtype = TOKENS if column.kind == "text" else OTHERS
        decodings[column.name] = Decoding(
            recipe.reading, recipe.pieces, widths[0], dtype, digests[column.name]
        )
    save_decoded(work.save, work.folder, table.path.parent, listed, decodings)


def save_columns(
    work: Work, table: Table, kept: Kept, about: Mapping[str, Shaped[np.ndarray, " n"]]
) -> None:
    """Writes the masks of the store, and what it knows of its rows.

    Args:
        work: where the store is made.
        table: the table.
        kept: what remains of it.
        about: arrays about all of its rows.
    """
    for name, there in kept.present.items():
        if not there[kept.rows].all():
            work.save(f"present.{name}", there[kept.rows])
    if not kept.rows.all():
        about = {"ids": np.arange(len(table)), **about}  # or others would take their numbers
    for name, values in about.items():
        work.save(name, values[kept.rows])


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

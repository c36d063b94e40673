"""Which columns of a table become modalities, and what their cells hold."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gramalign.counted import counted
from gramalign.data.opening import check_modalities
from gramalign.data.store import COLUMNS, FeatureStoreError
from gramalign.decoding.pieces import Kind, exists
from gramalign.media.table import Table


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that becomes the modality of its name.

    Attributes:
        name: of both.
        kind: what its cells are.
        encoder: folder of the pretrained encoder.
        rows: those that have the modality.
        cells: what these hold, as in the table.
        inputs: the texts, or the paths of the files.
    """

    name: str
    kind: Kind
    encoder: Path
    rows: Int[np.ndarray, " n"]
    cells: list[str]
    inputs: list[str]


def columns_of(table: Table, encoders: Mapping[Kind, Mapping[str, str | Path]]) -> list[Column]:
    """The columns that are to be encoded, all of whose files exist.

    Args:
        table: the table.
        encoders: by kind, the encoder's folder of each column.

    Raises:
        ValueError: no column, one that is named twice, unknown, empty, or called as no modality can
            be; or a row without any.
        FileNotFoundError: a file that does not exist; the message names the row.
    """
    columns = [
        _column(table, name, kind, Path(folder))
        for kind, of_kind in encoders.items()
        for name, folder in of_kind.items()
    ]
    if not columns:
        raise ValueError("got no column to encode, expected at least one of text, image, ...")
    names = [column.name for column in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"column {twice[0]!r} is given twice, expected one encoder for each")
    try:
        check_modalities(names)
    except FeatureStoreError as error:
        raise ValueError(f"{table.path}: column {error}") from error
    there = np.zeros(len(table), bool)
    for column in columns:
        there[column.rows] = True
    if not there.all():
        raise ValueError(
            f"{table.place(int(np.argmin(there)))} has none of {', '.join(names)} "
            f"({counted(int((~there).sum()), 'such row')}): remove it from the table"
        )
    _check_files(table, columns)
    return columns


def _column(table: Table, name: str, kind: Kind, encoder: Path) -> Column:
    if name in COLUMNS:
        raise ValueError(f"column {name!r} describes rows, so it cannot be encoded: rename it")
    found = table.cells(name)
    rows = np.array([row for row, cell in enumerate(found) if cell is not None], np.int64)
    cells = [cell for cell in found if cell is not None]
    if not cells:
        raise ValueError(f"{table.path}: column {name!r} is empty in every row: leave it out")
    folder = str(table.path.parent)
    inputs = cells if kind == "text" else [os.path.join(folder, cell) for cell in cells]
    return Column(name, kind, encoder, rows, cells, inputs)


def _check_files(table: Table, columns: Sequence[Column]) -> None:
    lost = [
        (int(row), column.name, cell)
        for column in columns
        if column.kind != "text"
        for row, cell, path in zip(column.rows, column.cells, column.inputs, strict=True)
        if not exists(column.kind, path)
    ]
    if lost:
        row, name, cell = min(lost)
        others = f" (nor do {len(lost) - 1} others)" if len(lost) > 1 else ""
        raise FileNotFoundError(
            f"{table.place(row)}: {name} is {cell!r}, a file that does not exist{others}: paths "
            f"are relative to {table.path.parent.absolute()}; where an example has no such file, "
            "leave its cell empty"
        )

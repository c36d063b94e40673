"""Vectors and columns of Parquet files, which are compressed: read in order, block by block."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Shaped

from gramalign.data.store import COLUMNS, FeatureStoreError
from gramalign.extras import check_extra

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

SUFFIX = ".parquet"
Block = tuple[Shaped[np.ndarray, "m width"], Bool[np.ndarray, " n"]]
"""Of n rows: the vectors of those that have one, and which these are."""
_IDS = ("ids", "id")
_ROWS = 4096


def check_installed(file: Path) -> None:
    """Raises a ValueError that names the cure if such a file cannot be read or written here."""
    check_extra("formats", f"{file}: Parquet", pyarrow="pyarrow")


def parquet_files(path: Path) -> list[Path]:
    """The file, or those of a folder, in the order of their names; none if it is something else."""
    if path.suffix == SUFFIX and not path.is_dir():
        return [path]
    return sorted(file for file in path.glob(f"*{SUFFIX}") if not file.name.startswith("."))


def read_vectors(
    path: Path, files: list[Path], name: str
) -> tuple[dict[str, Shaped[np.ndarray, " n"]], Iterator[Block]]:
    """What is known of all rows, their ids at least, and their vectors.

    Args:
        path: of the file or folder, for messages.
        files: as `parquet_files` has them.
        name: of the modality, whose column it is where several hold vectors.

    Raises:
        FeatureStoreError: a file is damaged or unlike the first; there is no such column, or none
            of ids, or one of these lacks a value; a vector that is not as wide as others of its
            block, or holds a null.
        ValueError: pyarrow is not installed.
    """
    with _opened(files[0]) as first:
        schema = first.schema_arrow
    vectors = _column(path, schema, name)
    known = {"ids": _ids_column(path, schema)}
    for column in (x for x in COLUMNS[1:] if x in schema.names and x != vectors):
        if _is_known(kind := schema.field(column).type):
            known[column] = column
        else:
            _log.warning(
                "left out %s of %s, expected text or whole numbers: %s", column, path, kind
            )
    parts = {x: [] for x in known}
    for file in files:
        with _opened(file) as opened:
            if opened.schema_arrow.names != schema.names:
                raise FeatureStoreError(
                    f"{file} has the columns {', '.join(opened.schema_arrow.names)}, and "
                    f"{files[0].name} {', '.join(schema.names)}: expected the files of one table"
                )
            table = opened.read(columns=[*known.values()])
        for x, column in known.items():
            if table[column].null_count:
                raise FeatureStoreError(
                    f"{file}: {column} has no value in some rows, expected one in all"
                )
            parts[x].append(np.array(table[column].to_pylist()))
    columns = {x: np.concatenate(part) for x, part in parts.items()}

    def blocks() -> Iterator[Block]:
        start = 0
        for file in files:
            with _opened(file) as opened:
                for batch in opened.iter_batches(_ROWS, columns=[vectors]):
                    yield _block(batch.column(0), path, columns["ids"][start : start + len(batch)])
                    start += len(batch)

    return columns, blocks()


def write_rows(
    file: Path,
    vectors: Mapping[str, Shaped[np.ndarray, "rows width"]],
    present: Mapping[str, Bool[np.ndarray, " rows"]],
    columns: Mapping[str, Shaped[np.ndarray, " rows"]],
    about: Mapping[str, str],
) -> None:
    """Writes a row per example: lists of numbers, null where it has none, after other columns.

    The lists are of fixed size where all rows have one. Others are not, as most readers know no
    null of such lists.

    Args:
        file: to write.
        vectors: by name.
        present: likewise, which rows have one.
        columns: what else is known of the rows.
        about: the file's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet

    def lists(name: str, part: slice) -> pa.Array:
        there, width = present[name][part], vectors[name].shape[1]
        numbers = pa.array(np.ascontiguousarray(vectors[name][part][there]).ravel())
        if present[name].all():
            return pa.FixedSizeListArray.from_arrays(numbers, width)
        ends = np.cumsum([0, *there * width], dtype=np.int32)
        return pa.ListArray.from_arrays(ends, numbers, mask=pa.array(~there))

    def table(part: slice) -> pa.Table:
        known = {name: pa.array(column[part]) for name, column in columns.items()}
        return pa.table(known | {name: lists(name, part) for name in vectors})

    rows = len(next(iter(present.values())))
    with pyarrow.parquet.ParquetWriter(file, table(slice(0)).schema) as writer:
        for start in range(0, rows, _ROWS):
            writer.write_table(table(slice(start, start + _ROWS)))
        writer.add_key_value_metadata(dict(about))


def read_columns(file: Path) -> dict[str, list[Any]]:
    """All columns of a file but those of vectors, bytes and nested values.

    Raises:
        FeatureStoreError: the file is damaged.
        ValueError: pyarrow is not installed.
    """
    with _opened(file) as opened:
        kinds = {field.name: field.type for field in opened.schema_arrow}
        flat = [x for x, kind in kinds.items() if not (kind.num_fields or "binary" in str(kind))]
        return opened.read(columns=flat).to_pydict()


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    check_installed(file)
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file, memory_map=True) as opened:
            yield opened
    except FileNotFoundError as error:
        raise FeatureStoreError(f"{file} does not exist") from error
    except (pa.ArrowException, OSError) as error:
        raise FeatureStoreError(f"{file} is damaged or not a Parquet file ({error})") from error


def _column(path: Path, schema: "pa.Schema", name: str) -> str:
    vectors = [x for x in schema.names if _of_numbers(schema.field(x).type)]
    if name in vectors or len(vectors) == 1:
        return name if name in vectors else vectors[0]
    there = ", ".join(f"{x} ({schema.field(x).type})" for x in schema.names)
    raise FeatureStoreError(
        f"{path} has {', '.join(vectors)}, and no {name}: name the modality as it does"
        if vectors
        else f"{path} has no column of vectors, only {there}: expected a list of numbers per row"
    )


def _ids_column(path: Path, schema: "pa.Schema") -> str:
    named = [x for x in _IDS if x in schema.names]
    others = [x for x in schema.names if x not in COLUMNS]
    like = [x for x in others if _is_known(schema.field(x).type)]
    if not named and len(like) != 1:
        raise FeatureStoreError(
            f"{path} has no column 'ids' or 'id', by which rows are matched: rename the one of "
            f"{', '.join(schema.names)} that holds them"
        )
    return (named or like)[0]


def _is_known(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    # Strings of several kinds, and dictionaries of them, say so in their names.
    return types.is_integer(kind) or "string" in str(kind) and not kind.num_fields


def _of_numbers(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not any(is_list(kind) for is_list in lists):
        return False
    value: Any = kind
    return types.is_floating(value.value_type) or types.is_integer(value.value_type)


def _block(column: Any, path: Path, ids: Shaped[np.ndarray, " n"]) -> Block:
    there = np.asarray(column.is_valid())
    vectors = column.drop_null()
    widths = np.asarray(vectors.value_lengths())
    rows = np.flatnonzero(there)
    if len(other := np.flatnonzero(widths != widths[:1])):
        raise FeatureStoreError(
            f"{path}: {ids[rows[other[0]]]} is {widths[other[0]]} wide, and {ids[rows[0]]} is "
            f"{widths[0]}"
        )
    flat = vectors.flatten()
    if flat.null_count:
        row = rows[np.flatnonzero(~np.asarray(flat.is_valid()))[0] // widths[0]]
        raise FeatureStoreError(f"{path}: {ids[row]} holds a null: fix it, or leave it out")
    return flat.to_numpy(zero_copy_only=False).reshape(len(rows), -1 if len(rows) else 0), there

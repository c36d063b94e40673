"""Vectors of HDF5 files: a data set for each example, or one for each modality beside `ids`."""

import contextlib
import functools
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from gramalign.data.opening import MASK, is_real
from gramalign.data.parquet import Block
from gramalign.data.store import COLUMNS, FeatureStoreError
from gramalign.extras import check_extra

SUFFIXES = (".h5", ".hdf5")
_ROWS = 4096


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, to be read.

    Raises:
        FeatureStoreError: it is missing or damaged.
        ValueError: h5py is not installed.
    """
    check_extra("formats", f"{path}: HDF5", h5py="h5py")
    import h5py

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise FeatureStoreError(f"{path} does not exist") from error
    except (OSError, RuntimeError) as error:
        raise FeatureStoreError(f"{path} is damaged or not an HDF5 file ({error})") from error
    with file:
        yield file


def by_id(file: Any) -> dict[str, Callable[[], np.ndarray]]:
    """Reads a data set of each example, by its place in the file, which is the example's id.

    If all have a group of their own and one name there, as `video7/features`, it is the group's.
    """
    names: list[str] = []
    file.visititems(lambda name, x: names.append(name) if hasattr(x, "shape") else None)
    ends = {posixpath.basename(name) for name in names}
    inside = len(ends) == 1 and len(names) > 1
    read = {name: functools.partial(lambda x: _read(file[x]), name) for name in names}
    return {posixpath.dirname(name) if inside else name: each for name, each in read.items()}


def read_vectors(
    file: Any, name: str
) -> tuple[dict[str, Shaped[np.ndarray, " n"]], Iterator[Block]]:
    """What is known of all rows, their ids at least, and their vectors.

    Args:
        file: one with a data set `ids`.
        name: of the modality, and of its data set where there are several.

    Raises:
        FeatureStoreError: there is no such data set, or it is not one of vectors for these ids.
    """
    found = [x for x in file if x not in COLUMNS and not x.startswith(MASK)]
    if name not in found and len(found) != 1:
        raise FeatureStoreError(
            f"{file.filename} has {', '.join(found)}, and no {name}: name the modality as it does"
            if found
            else f"{file.filename} has ids and nothing else: expected vectors of them"
        )
    name = name if name in found else found[0]
    ids, data, mask = file["ids"], file[name], file.get(f"{MASK}{name}")
    shape = getattr(ids, "shape", ())
    if len(shape) != 1 or getattr(data, "shape", ())[:-1] != shape or not is_real(data.dtype):
        raise FeatureStoreError(
            f"{file.filename}: {name} is {_told(data)} and ids is {_told(ids)}, expected numbers "
            "[rows, width] and an id for each row"
        )
    if mask is not None and _told(mask) != f"bool[{len(ids)}]":
        raise FeatureStoreError(
            f"{file.filename}: {MASK}{name} is {_told(mask)}, expected bool[{len(ids)}]"
        )
    there = np.ones(len(ids), bool) if mask is None else _read(mask)

    def blocks() -> Iterator[Block]:
        for start in range(0, len(ids), _ROWS):
            part = there[start : start + _ROWS]
            yield _read(data, slice(start, start + _ROWS))[part], part

    about = {column: file[column] for column in COLUMNS if column in file}
    return {column: _column(data, shape) for column, data in about.items()}, blocks()


def _column(data: Any, shape: tuple[int, ...]) -> np.ndarray:
    with contextlib.suppress(AttributeError, TypeError):  # of groups, and of objects but strings
        if data.shape == shape:
            # Strings of any length come as objects.
            return _read(data) if data.dtype.kind != "O" else _read(data.asstr()).astype(np.str_)
    raise FeatureStoreError(
        f"{data.file.filename}: {data.name} is {_told(data)}, expected text or whole numbers "
        f"{[*shape]}"
    )


def _read(data: Any, rows: Any = ()) -> np.ndarray:
    try:
        return np.asarray(data[rows])
    except (OSError, RuntimeError) as error:
        raise FeatureStoreError(
            f"{data.file.filename}: {data.name} is damaged ({error})"
        ) from error


def _told(found: Any) -> str:
    return f"{found.dtype}{[*found.shape]}" if hasattr(found, "shape") else "a group"

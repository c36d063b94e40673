"""Where `gramalign.data.by_id.join` takes the rows of one modality from."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from gramalign.data import hdf5, parquet
from gramalign.data.files import array_at, find_arrays, read_array
from gramalign.data.opening import columns_of, finite_rows, is_real
from gramalign.data.parquet import Block
from gramalign.data.sources import open_store
from gramalign.data.store import COLUMNS, FeatureStore, FeatureStoreError
from gramalign.files import check_local

Report = Callable[[str, int, int], object]


@dataclasses.dataclass(frozen=True)
class Source:
    """The rows of one modality.

    Attributes:
        where: for messages.
        ids: of each row that is there.
        width: of a row.
        dtype: of what is written of them.
        rows: reads those at some places.
        columns: what else it knows of them, as a store has it: any of `labels`, `split`, `groups`.
    """

    where: str
    ids: Sequence[str]
    width: int
    dtype: np.dtype
    rows: Callable[[Int[np.ndarray, " n"]], Shaped[np.ndarray, "n width"]]
    columns: Mapping[str, Shaped[np.ndarray, " n"]] = dataclasses.field(default_factory=dict)


def open_source(
    name: str,
    path: Path,
    *,
    stack: contextlib.ExitStack,
    scratch: Path,
    average: bool,
    report: Report,
) -> Source:
    """Opens a feature store with ids, or vectors by id.

    Args:
        name: the modality: of a store of several, the one of that name.
        path: a feature store with `ids`, an .h5 with data sets like its arrays, or a .parquet, or a
            folder of them, with a column of ids and one of vectors; or, of vectors by id, a folder
            of .npy files, whose names are the ids, or one .npz, .safetensors or .h5.
        stack: keeps files open that are read later.
        scratch: a folder on a disk with room for all vectors of a .parquet or .h5.
        average: of vectors by id, whether each is the mean of an array's, [n, width].
        report: called with what is read, rows read and rows to read, where all are read at once.

    Raises:
        FeatureStoreError: it cannot be read, is neither, or has no ids, or one twice.
        ValueError: an address, such as gs://bucket, or a package is not installed.
    """
    check_local(path)
    unpacked = functools.partial(_unpacked, name, path, scratch, stack, report)
    if files := parquet.parquet_files(path):
        return unpacked(*parquet.read_vectors(path, files, name))
    if path.suffix in hdf5.SUFFIXES:
        file = stack.enter_context(hdf5.opened(path))
        if "ids" in file:
            return unpacked(*hdf5.read_vectors(file, name))
        return _of_vectors(path, hdf5.by_id(file), average)
    if path.is_dir() and not (path / "ids.npy").exists():
        return _of_files(path, average)
    arrays = find_arrays(path)
    if "ids" in arrays:
        return _of_store(name, open_store(path))
    by_id = {x: functools.partial(array_at, place) for x, (_, place) in arrays.items()}
    return _of_vectors(path, by_id, average)


def _of_store(name: str, store: FeatureStore) -> Source:
    if name not in store.features and len(store.features) > 1:
        raise FeatureStoreError(
            f"{store.source} has {', '.join(store.features)}, and no {name}: name the modality as "
            "it does"
        )
    modality = name if name in store.features else next(iter(store.features))
    array, (there,) = store.features[modality], np.nonzero(store.present[modality])
    # What numpy.save has no name for.
    dtype = np.dtype(np.float32) if array.dtype.name == "bfloat16" else array.dtype
    return Source(
        *(store.source, store.ids[there].tolist(), array.shape[1], dtype),
        rows=lambda places: array[there[places]],
        columns=_of_rows({name: getattr(store, name) for name in COLUMNS}, there),
    )


def _of_rows(
    columns: Mapping[str, np.ndarray | None], there: Shaped[np.ndarray, " m"]
) -> dict[str, np.ndarray]:
    return {name: x[there] for name, x in columns.items() if x is not None and name != "ids"}


def _unpacked(
    name: str,
    path: Path,
    scratch: Path,
    stack: contextlib.ExitStack,
    report: Report,
    about: Mapping[str, Shaped[np.ndarray, " n"]],
    blocks: Iterator[Block],
) -> Source:
    """Copies what can only be read in order into a file that is mapped, and goes with the stack."""
    located = {column: (f"{column} of {path}", values) for column, values in about.items()}
    columns = columns_of(located, [], len(about["ids"]))
    ids = columns["ids"]
    there = np.zeros(len(ids), bool)
    dtype, width, done = np.dtype(np.float32), 0, 0
    file = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
    for values, present in blocks:
        part = slice(done, done + len(present))
        there[part] = present
        done += len(present)
        report(f"reading {name}", done, len(ids))
        if not len(values):
            continue
        names = ids[part][present]
        if not width:
            width = values.shape[1]
            dtype = values.dtype if values.dtype == np.float16 else dtype
        if values.dtype != np.float16 == dtype:
            raise FeatureStoreError(
                f"{path}: {names[0]} is of {values.dtype}, and those before are of float16: make "
                "them alike"
            )
        if values.shape[1] != width:
            raise FeatureStoreError(
                f"{path}: {names[0]} is {values.shape[1]} wide, and those before are {width}"
            )
        if not (finite := finite_rows(values)).all():
            raise _not_finite(path, names[int(np.argmin(finite))])
        file.write(np.ascontiguousarray(values, dtype).data)
    if not width:
        raise FeatureStoreError(f"{path} has no vector for {name}")
    file.flush()
    array = np.memmap(file, dtype, "r", shape=(int(there.sum()), width))
    known = _of_rows({name: columns[name] for name in COLUMNS}, there)
    return Source(str(path), ids[there].tolist(), width, dtype, array.__getitem__, known)


def _of_files(folder: Path, average: bool) -> Source:
    files = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))
    if not files:
        raise FeatureStoreError(
            f"{folder} has no .npy file: expected one for each example, or a feature store with ids"
        )
    by_id = {path.stem: functools.partial(read_array, path) for path in files}
    return _of_vectors(folder, by_id, average)


def _of_vectors(
    path: Path, vectors: Mapping[str, Callable[[], np.ndarray]], average: bool
) -> Source:
    if not vectors:
        raise FeatureStoreError(f"{path} is empty: expected vectors by id, or a store with ids")
    ids = list(vectors)

    def vector(name: str) -> Float[np.ndarray, " width"]:
        found = vectors[name]()
        several = average and found.ndim == 2 and found.size > 0
        if not several and found.size == max(found.shape, default=0):  # [1, width], say
            found = found.reshape(-1)
        if not (several or found.ndim == 1) or not is_real(found.dtype):
            raise FeatureStoreError(
                f"{path}: {name} is {found.dtype}{[*found.shape]}, expected numbers [width], the "
                "features of one example: average several vectors of it (--average), or give a "
                "store of many its ids"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            raise _not_finite(path, name)
        return found.mean(axis=0) if several else found

    width = len(vector(ids[0]))

    def rows(places: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n width"]:
        made = np.zeros((len(places), width), np.float32)
        for row, place in enumerate(places.tolist()):
            if len(found := vector(ids[place])) != width:
                raise FeatureStoreError(
                    f"{path}: {ids[place]} is {len(found)} wide, and {ids[0]} is {width}"
                )
            made[row] = found
        return made

    return Source(str(path), ids, width, np.dtype(np.float32), rows)


def _not_finite(path: Path, name: str) -> FeatureStoreError:
    return FeatureStoreError(
        f"{path}: {name} holds NaN or Inf (or a number too large for float32): fix it, or leave it "
        "out"
    )

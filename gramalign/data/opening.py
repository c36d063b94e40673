"""Opens feature stores and checks everything that would otherwise spoil a run later."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from gramalign.counted import counted
from gramalign.data.files import Located, read_arrays
from gramalign.data.mapped import place_of
from gramalign.data.store import COLUMNS, SPLITS, FeatureStore, FeatureStoreError

MASK = "present."
"""Before a modality's name: the array that says which rows have it."""
_RESERVED = (*COLUMNS, "present")

_CHUNK = 2**22  # values checked at a time: a mapped file never fills the memory

_finite: set[tuple[object, ...]] = set()
"""Mapped arrays, as their files were when this process read them, which a command opens anew."""


def open_arrays(path: str | Path) -> FeatureStore:
    """Opens precomputed features: one array per modality, row i of all of them the same example.

    The path is a folder with one .npy file per modality (`text.npy`, `audio.npy`, ...), one .npz or
    one .safetensors with one array per modality. Features are `[rows, width]`, of any real dtype.
    Arrays with these names describe the rows; all are optional:

    - `present.text` (file `present.text.npy`), bool: which rows really have the modality `text`;
      the others may hold anything, NaN included
    - `ids`, strings or integers, unique
    - `labels`, the class of each row, strings or integers
    - `split`, one of "train", "validation" and "test" for each row, or 0, 1 and 2 in their place
      (.safetensors holds no strings)
    - `groups`, integers or strings: rows of one group are never each other's negatives

    Features are memory-mapped, unless an .npz is compressed, and read once here for NaN and Inf:
    a process that opens them again reads them again only if the files have changed. Nothing is ever
    unpickled.

    Raises:
        FeatureStoreError: something is missing or wrong; the message names file, row and cure.
    """
    path = Path(path)
    return _build(read_arrays(path), str(path))


def from_arrays(arrays: Mapping[str, np.ndarray], source: str = "arrays") -> FeatureStore:
    """Makes a store from arrays in memory, with the names and the checks of `open_arrays`.

    Args:
        arrays: features `[n, d_m]` by modality, and the optional arrays about the rows.
        source: what to call it in messages.

    Raises:
        FeatureStoreError: as `open_arrays`.

    >>> import numpy as np
    >>> from_arrays({"text": np.ones((3, 8)), "audio": np.ones((3, 4)), "labels": np.arange(3)})
    FeatureStore(arrays: 3 rows; text 8, audio 4)
    """
    return _build({name: (name, np.asarray(array)) for name, array in arrays.items()}, source)


def _build(arrays: Located, source: str) -> FeatureStore:
    modalities = [name for name in arrays if name not in _RESERVED and not name.startswith(MASK)]
    if not modalities:
        raise FeatureStoreError(
            f"{source} has no modality{', only ' if arrays else ''}{', '.join(arrays)}: expected "
            "one array of features per modality, such as 'text'"
        )
    _check_names(arrays, modalities)
    for name in modalities:
        _check_features(*arrays[name])
    where_first, first = arrays[modalities[0]]
    for where, array in arrays.values():
        if array.ndim == 0 or len(array) != len(first):
            raise FeatureStoreError(
                f"{where} has {counted(len(array), 'row') if array.ndim else 'no rows'}, but "
                f"{where_first} has {len(first)}: every array needs the same rows in the same "
                "order; where an example lacks a modality, fill its row with zeros and set "
                "'present.NAME' to False, or let `gramalign join` match rows by ids"
            )
    columns = checked_columns(arrays, modalities, len(first), source)
    for name in modalities:
        _check_finite(*arrays[name], name, columns["present"][name])
    return FeatureStore(
        features={name: arrays[name][1] for name in modalities}, source=source, **columns
    )


def check_modalities(names: Iterable[str]) -> None:
    """Raises a `FeatureStoreError` for a name that no modality of a store can have."""
    for name in names:
        if name in _RESERVED or name.startswith(MASK):
            raise FeatureStoreError(
                f"{name!r} cannot name a modality: it names other arrays of a store"
            )
        _check_names({name: (name, np.empty(0))}, [name])


def checked_columns(
    arrays: Located, modalities: Iterable[str], rows: int, source: str
) -> dict[str, Any]:
    """As `columns_of`; every row must have a modality.

    Raises:
        FeatureStoreError: one is not as `open_arrays` has it, or has none.
    """
    columns = columns_of(arrays, modalities, rows)
    empty = np.flatnonzero(~np.any(list(columns["present"].values()), axis=0))
    if len(empty):
        raise FeatureStoreError(
            f"{source}: row {empty[0]} has no modality at all ({counted(len(empty), 'such row')}): "
            "remove these rows, or fix the 'present' masks"
        )
    return columns


def columns_of(arrays: Located, modalities: Iterable[str], rows: int) -> dict[str, Any]:
    """What a store knows of its rows, as `FeatureStore` has it.

    Args:
        arrays: by name, where each is from, and the array; of `rows` rows each.
        modalities: those of the store.
        rows: of the store.

    Raises:
        FeatureStoreError: one is not as `open_arrays` has it.
    """
    return {
        "present": {name: _mask(arrays, name, rows) for name in modalities},
        "ids": _ids(*arrays["ids"]) if "ids" in arrays else np.arange(rows).astype(np.str_),
        "labels": _labels(*arrays["labels"]) if "labels" in arrays else None,
        "split": _split(*arrays["split"]) if "split" in arrays else None,
        "groups": _groups(*arrays["groups"]) if "groups" in arrays else None,
    }


def _check_names(arrays: Located, modalities: list[str]) -> None:
    for name in arrays:
        where = arrays[name][0]
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise FeatureStoreError(f"{ascii(where)} has a name that is not UTF-8: rename it")
        if name == "present":
            raise FeatureStoreError(
                f"{where}: a mask belongs to one modality: name it 'present.{modalities[-1]}'"
            )
        if name.startswith(MASK) and name.removeprefix(MASK) not in modalities:
            raise FeatureStoreError(
                f"{where} is the mask of an unknown modality {name.removeprefix(MASK)!r}, "
                f"expected one of {', '.join(modalities)}"
            )
        if name in modalities and ("." in name or "/" in name or not name):
            raise FeatureStoreError(
                f"{where}: a modality's name cannot contain a dot or a slash, since it also names "
                f"parameters: call it {name.replace('.', '_').replace('/', '_') or 'text'!r}"
            )
        if name == "__metadata__":
            raise FeatureStoreError(f"{where}: .safetensors files reserve this name: rename it")


def is_real(dtype: np.dtype) -> bool:
    """Whether features may have this dtype."""
    return dtype.kind in "fiub" or dtype.name == "bfloat16"


def _check_features(where: str, array: np.ndarray) -> None:
    rename = f"if it describes each row, call it one of {', '.join(COLUMNS)}"
    if not is_real(array.dtype):
        cure = rename if array.dtype.kind in "US" else "save it as float32"
        raise FeatureStoreError(f"{where} has dtype {array.dtype}, expected real numbers; {cure}")
    if array.ndim != 2:
        cure = (
            f"save array.reshape({len(array)}, -1), or pool the axes between"
            if array.ndim > 2
            else f"{rename}; if each row is one number, save array[:, None]"
        )
        raise FeatureStoreError(f"{where} has shape {array.shape}, expected [rows, width]; {cure}")
    if 0 in array.shape:
        raise FeatureStoreError(
            f"{where} is empty, of shape {array.shape}, expected at least one row and one column"
        )


def _mask(arrays: Located, name: str, rows: int) -> np.ndarray:
    if MASK + name not in arrays:
        return np.ones(rows, bool)
    where, mask = arrays[MASK + name]
    if mask.dtype != bool or mask.ndim != 1:
        raise FeatureStoreError(
            f"{where} is {mask.dtype}{list(mask.shape)}, expected bool[{rows}], True where the row "
            f"has {name!r}"
        )
    return np.array(mask)


def finite_rows(values: Shaped[np.ndarray, "n width"]) -> Bool[np.ndarray, " n"]:
    """Which rows are finite in float32."""
    # Values too large for float32 become Inf, and are found.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.isfinite(values.astype(np.float32, copy=False)).all(axis=1))


def _check_finite(where: str, array: np.ndarray, name: str, present: np.ndarray) -> None:
    known = _as_it_is(array, present)
    if array.dtype.kind in "iub" or known in _finite:
        return
    step = max(1, _CHUNK // array.shape[1])
    bad = np.zeros(len(array), bool)
    for start in range(0, len(array), step):
        values = np.asarray(array[start : start + step])
        bad[start : start + step] = ~finite_rows(values) & present[start : start + step]
    if bad.any():
        raise FeatureStoreError(
            f"{where}: row {np.argmax(bad)} holds NaN or Inf (or a number too large for float32; "
            f"{counted(int(bad.sum()), 'such row')}): fix them, or mark them as missing in "
            f"'present.{name}'"
        )
    if known is not None:
        _finite.add(known)


def _as_it_is(array: np.ndarray, present: np.ndarray) -> tuple[object, ...] | None:
    """What is the same for the same values of a file; None for an array that is in no file."""
    place = place_of(array)
    if place is None:
        return None
    about = place.path.stat()
    rows = hashlib.blake2b(present.tobytes(), digest_size=16).digest()
    return place, about.st_ino, about.st_size, about.st_mtime_ns, rows


def _ids(where: str, ids: np.ndarray) -> np.ndarray:
    _check_column(where, ids, "strings or integers")
    ids = _as_text(where, ids)
    unique, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(unique) < len(ids):
        rows = np.flatnonzero(ids == unique[counts > 1][np.argmin(first[counts > 1])])
        raise FeatureStoreError(
            f"{where}: rows {rows[0]} and {rows[1]} are both {str(ids[rows[0]])!r}: ids must be "
            "unique; give rows that show the same thing one value in 'groups' instead"
        )
    return ids


def _labels(where: str, labels: np.ndarray) -> np.ndarray:
    _check_column(where, labels, "strings or integers")
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else _as_text(where, labels)


def _split(where: str, split: np.ndarray) -> np.ndarray:
    _check_column(where, split, "strings (or 0, 1, 2)")
    names = np.array(SPLITS)
    if split.dtype.kind in "iu":
        known = (split >= 0) & (split < len(names))
        named = names[np.where(known, split, 0)]
    else:
        named = _as_text(where, split)
        known = np.isin(named, names)
    if not known.all():
        row = int(np.argmin(known))
        raise FeatureStoreError(
            f"{where}: row {row} is {split[row].item()!r}, expected one of {', '.join(SPLITS)}"
        )
    return named.astype(names.dtype)


def _groups(where: str, groups: np.ndarray) -> np.ndarray:
    _check_column(where, groups, "integers or strings")
    # Renumbered: only equality counts, and the numbers must fit 32 bits.
    return np.unique(groups, return_inverse=True)[1].astype(np.int32)


def _as_text(where: str, values: np.ndarray) -> np.ndarray:
    try:
        if values.dtype.kind == "S":
            return np.char.decode(values, "utf-8")
        named = values.astype(np.str_)
        named = np.ascontiguousarray(named, named.dtype.newbyteorder("="))
        beyond = named.view(np.uint32) > sys.maxunicode if named.dtype.itemsize else np.zeros(0)
        if beyond.any():  # Python could not even print it
            row = np.argmax(beyond) // (len(beyond) // len(named))
            raise FeatureStoreError(
                f"{where}: row {row} is no text, it is damaged: copy or write it again"
            )
        np.char.encode(named, "utf-8")  # for hashing and writing
        return named
    except UnicodeError:
        row = next(row for row, value in enumerate(values.tolist()) if not _is_utf8(value))
        raise FeatureStoreError(
            f"{where}: row {row} is {values[row].item()!a}, which is not UTF-8: rename it"
        ) from None


def _is_utf8(value: bytes | str | int) -> bool:
    try:
        value.decode() if isinstance(value, bytes) else str(value).encode()
    except UnicodeError:
        return False
    return True


def _check_column(where: str, values: np.ndarray, wanted: str) -> None:
    if values.ndim != 1:
        raise FeatureStoreError(
            f"{where} has shape {values.shape}, expected one value per row, [{len(values)}]"
        )
    if values.dtype.kind not in "iuUS":
        raise FeatureStoreError(f"{where} has dtype {values.dtype}, expected {wanted}")

"""Arrays from .npy, .npz and .safetensors files: memory-mapped where possible, never unpickled.

Array bytes lie uncompressed in .npy files, in .safetensors files and in those .npz members that
`numpy.savez` wrote, so all three are mapped at the place where they start.
"""

import functools
import io
import json
import logging
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from gramalign.data.mapped import Place
from gramalign.data.store import FeatureStoreError
from gramalign.files import whole

_SUFFIXES = (".npz", ".safetensors")
_OF_RUNS = {"params.safetensors", "fixed.safetensors"}
_JOINED = (".parquet", ".h5", ".hdf5")
_FOREIGN = (
    *(".csv", ".tsv", ".pt", ".pth", ".pkl", ".pickle", ".mat", ".feather", ".arrow", *_JOINED),
)

_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}

_log = logging.getLogger(__name__)

Located = dict[str, tuple[str, np.ndarray]]
"""Arrays by name, each with the place to name in a message: `text.npy`, or `store.npz[text]`."""
Places = dict[str, tuple[str, Place | np.ndarray]]
"""Likewise, but not mapped yet; arrays only of what cannot be mapped."""


def read_arrays(path: Path) -> Located:
    """Reads every array of a folder of .npy files, one .npz or one .safetensors.

    Raises:
        FeatureStoreError: nothing is there, it is not such a file, or it needs unpickling.
    """
    return {name: (where, array_at(x)) for name, (where, x) in find_arrays(path).items()}


def read_array(path: Path) -> np.ndarray:
    """Maps one .npy file.

    Raises:
        FeatureStoreError: it is no such file, or damaged.
    """
    with path.open("rb") as stream:
        return array_at(_place_of_npy(stream, path, str(path)))


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file, whole or not at all."""
    with whole(path) as draft, draft.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def array_at(place: Place | np.ndarray) -> np.ndarray:
    """The array at a place."""
    return place.map() if isinstance(place, Place) else place


def find_arrays(path: Path) -> Places:
    """As `read_arrays`, for more arrays than a process may map at once.

    Raises:
        FeatureStoreError: likewise.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise FeatureStoreError(
            f"{path} does not exist: expected a folder of .npy files, one .npz or one .safetensors"
        )
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    cure = (
        f"make one by `gramalign join MODALITY={path} ... --out FOLDER`"
        if path.suffix in _JOINED
        else 'save its arrays by numpy.savez("features.npz", text=..., audio=..., ids=...)'
    )
    raise FeatureStoreError(
        f"{path} is not a feature store: got a file that ends in {path.suffix!r}, expected a "
        f"folder of .npy files, one .npz or one .safetensors; {cure}"
    )


def _read_folder(path: Path) -> Places:
    files = sorted(file for file in path.glob("*.npy") if not file.name.startswith("."))
    if not files:
        whole = sorted(file.name for file in path.iterdir() if file.suffix in _SUFFIXES)
        hint = f"; did you mean {path / whole[0]}?" if whole else ""
        if any(file.suffix in _JOINED for file in path.iterdir()):
            hint = "; `gramalign join` makes such a folder of .parquet and .h5 files"
        if not _OF_RUNS.isdisjoint(whole):
            hint = ": it is a run, so give its data, or what `gramalign embed` makes of them"
        raise FeatureStoreError(
            f"{path} has no .npy file: expected one array per modality, such as text.npy{hint}"
        )
    arrays = {}
    for file in files:
        with file.open("rb") as stream:
            arrays[file.stem] = (file.name, _place_of_npy(stream, file, file.name))
    others = sorted(x.name for x in path.iterdir() if x.suffix in (*_SUFFIXES, *_FOREIGN))
    if others:
        _tell_unread(path, ", ".join(others))
    return arrays


@functools.cache  # once for a file that a command opens several times
def _tell_unread(folder: Path, names: str) -> None:
    _log.warning(
        "%s is read as a folder of .npy files, without %s: if those are features too, save them "
        "with numpy.save",
        *(folder, names),
    )


def _read_npz(path: Path) -> Places:
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
            for member in archive.infolist():
                if member.header_offset < 0:
                    raise zipfile.BadZipFile("Bad offset of a member")
                name = member.filename.removesuffix(".npy")
                where = f"{path.name}[{name}]"
                if member.compress_type == zipfile.ZIP_STORED:
                    # After a local header of 30 bytes, whose last two fields are the lengths of
                    # the name and of an extra field that may differ from the directory's.
                    stream.seek(member.header_offset + 26)
                    stream.seek(sum(struct.unpack("<HH", stream.read(4))), 1)
                    arrays[name] = (where, _place_of_npy(stream, path, where))
                else:
                    unpacked = io.BytesIO(archive.read(member))
                    arrays[name] = (where, _load_npy(unpacked, where))
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, RuntimeError) as error:
        raise FeatureStoreError(
            f"{path} is damaged or not an .npz file ({error}): write it again with numpy.savez"
        ) from error
    return arrays


def _read_safetensors(path: Path) -> Places:
    try:
        # The library checks the header: names, dtypes, sizes, offsets within the file.
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
    except SafetensorError as error:
        raise FeatureStoreError(
            f"{path} is damaged or not a .safetensors file ({error}): write it again with "
            "safetensors.numpy.save_file"
        ) from error
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    arrays = {}
    for name in names:
        where = f"{path.name}[{name}]"
        entry = header[name]
        if entry["dtype"] not in _SAFETENSORS:
            raise FeatureStoreError(
                f"{where} has dtype {entry['dtype']}: save it as one of {', '.join(_SAFETENSORS)}"
            )
        dtype = np.dtype(_SAFETENSORS[entry["dtype"]])
        offset = 8 + length + entry["data_offsets"][0]
        arrays[name] = (where, _place(path, where, dtype, tuple(entry["shape"]), offset))
    return arrays


def _header(stream: io.BufferedIOBase, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read(stream)
    except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise FeatureStoreError(
            f"{where} is not a readable array ({error}): write it with numpy.save"
        ) from error
    if dtype.hasobject:
        raise FeatureStoreError(
            f"{where} holds pickled Python objects, which are never loaded: save features as "
            "numpy.stack(values).astype(numpy.float32), names such as ids as values.astype(str)"
        )
    return shape, fortran_order, dtype


def _place_of_npy(stream: io.BufferedIOBase, path: Path, where: str) -> Place | np.ndarray:
    shape, fortran_order, dtype = _header(stream, where)
    return _place(path, where, dtype, shape, stream.tell(), "F" if fortran_order else "C")


def _load_npy(stream: io.BytesIO, where: str) -> np.ndarray:
    shape, fortran_order, dtype = _header(stream, where)
    if 0 in shape:  # refused later, by name
        return np.zeros(shape, dtype)
    content = np.frombuffer(stream.getbuffer(), dtype, math.prod(shape), stream.tell())
    return content.reshape(shape, order="F" if fortran_order else "C")


def _place(
    path: Path,
    where: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    offset: int,
    order: Literal["C", "F"] = "C",
) -> Place | np.ndarray:
    if 0 in shape or not shape:  # nothing to map; refused later, by name
        return np.zeros(shape, dtype)
    there, needed = path.stat().st_size - offset, math.prod(shape) * dtype.itemsize
    if there < needed:
        raise FeatureStoreError(
            f"{where} ends before its last row (it has {there} of {needed} bytes): copy or write "
            "it again"
        )
    return Place(path, dtype, offset, shape, order)

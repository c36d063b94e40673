"""An index as one safetensors file: only arrays, and nothing is ever unpickled.

    embeddings.NAME  float32 [n, dim]      ids.text  uint8, all ids in UTF-8, concatenated
    present.NAME     bool [n]              ids.ends  int64 [n], where each of them ends

The metadata hold the format's version, the modalities in their order, a checksum per array and, if
given, what made the embeddings.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import safetensors
from jaxtyping import Shaped, UInt8

from gramalign.files import write_arrays
from gramalign.search.entries import Entries

KEY = "gramalign.index"
_VERSION = 1
_TEXT, _ENDS = "ids.text", "ids.ends"


def check_name(path: Path, argument: str = "path") -> None:
    """Raise `ValueError` for a name that does not end in .safetensors."""
    if path.suffix != ".safetensors":
        raise ValueError(f"{argument}: got {path}, expected a name that ends in .safetensors")


def write(path: Path, entries: Entries) -> None:
    """Writes entries; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
        ValueError: a name that does not end in .safetensors.
    """
    check_name(path)
    words = [str(name).encode() for name in entries.ids]
    arrays = {
        **{f"embeddings.{name}": x for name, x in entries.embeddings.items()},
        **{f"present.{name}": x for name, x in entries.present.items()},
        _TEXT: np.frombuffer(b"".join(words), np.uint8),
        _ENDS: np.cumsum([len(word) for word in words], dtype=np.int64),
    }
    about = {
        "version": _VERSION,
        "modalities": list(entries.embeddings),
        "checksums": {name: _checksum(x) for name, x in arrays.items()},
    }
    if entries.made_by:
        about |= {"made_by": entries.made_by, "made_by_checksum": _of_text(entries.made_by)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, {KEY: json.dumps(about)})


def read(path: Path) -> Entries:
    """Reads what `write` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, not an index, or from a later version.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {found}: give a file that Index.save wrote")
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            about = (opened.metadata() or {}).get(KEY)
            if about is None:
                raise ValueError(f"{path} is not an index: give a file that Index.save wrote")
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or not a .safetensors file ({error}): write it again with "
            "Index.save"
        ) from error
    try:
        about = json.loads(about)
        version, modalities, checksums = (
            about[name] for name in ("version", "modalities", "checksums")
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its metadata cannot be read ({error})") from error
    if version != _VERSION:
        raise ValueError(
            f"{path} is an index of version {version}, expected {_VERSION}: read it with the "
            "gramalign that wrote it, or embed its rows again"
        )
    for name, x in arrays.items():
        if checksums.get(name) != _checksum(x):
            raise ValueError(
                f"{path} is damaged: {name} is not what was written; copy it again, or write it "
                "again with Index.save"
            )
    made_by = about.get("made_by", "")
    if about.get("made_by_checksum", _of_text("")) != _of_text(made_by):
        raise ValueError(f"{path} is damaged: made_by is not what was written; copy it again")
    wanted = {f"{kind}.{name}" for kind in ("embeddings", "present") for name in modalities}
    wanted |= {_TEXT, _ENDS}
    if arrays.keys() != wanted:
        raise ValueError(f"{path} is damaged: got {sorted(arrays)}, expected {sorted(wanted)}")
    return Entries(
        {name: arrays[f"embeddings.{name}"] for name in modalities},
        {name: arrays[f"present.{name}"] for name in modalities},
        _ids(arrays[_TEXT], arrays[_ENDS]),
        made_by,
    )


def _ids(text: UInt8[np.ndarray, " bytes"], ends: Shaped[np.ndarray, " n"]) -> np.ndarray:
    every, starts = text.tobytes(), np.concatenate([[0], ends[:-1]])
    return np.array([every[a:b].decode() for a, b in zip(starts, ends, strict=True)], np.str_)


def _of_text(text: str) -> int:
    return zlib.crc32(text.encode())


def _checksum(x: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)

"""Feature stores that hold no features: rows are decoded from files of media when they are read.

A folder holds `decoded.json`, of each modality its cells as one array of UTF-8 and where each ends,
and the arrays about the rows as .npy files. A row is what a pretrained encoder takes of a cell.
"""

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from gramalign.data.files import read_arrays
from gramalign.data.opening import columns_of
from gramalign.data.store import FeatureStore, FeatureStoreError, MappedRows, NothingLost
from gramalign.decoding.folders import digest_of
from gramalign.decoding.inputs import row_of
from gramalign.decoding.libraries import check_installed
from gramalign.decoding.reading import Read, Reading, decoded, shortened
from gramalign.files import read_json, write_text

DECODED = "decoded.json"
"""A folder without it is no such store."""

_CURE = "make the store again, by gramalign features --on-demand"


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How cells of a modality become rows.

    Attributes:
        reading: how they become pieces.
        pieces: how many a row has.
        width: of a row.
        dtype: of a row.
        digest: of the encoder's folder, by `digest_of` without weights; None: an earlier version
            did not keep it, and nothing is compared.
    """

    reading: Reading
    pieces: int
    width: int
    dtype: str
    digest: str | None = None


class DecodedArray(NothingLost):
    """One modality, as an array whose rows are decoded when indexed; zeros where a cell is empty.

    What cannot be decoded any more, although it could when the store was made, is an error.

    Args:
        folder: of the store.
        name: the modality.
        decoding: how cells become rows.
        root: the folder that paths are relative to.
    """

    def __init__(self, folder: Path, name: str, decoding: Decoding, root: str):
        self._about = folder, name, decoding, root
        self._cells, self._ends = (
            np.load(folder / f"{part}.{name}.npy", mmap_mode="r", allow_pickle=False)
            for part in ("cells", "ends")
        )
        self._lock = threading.Lock()
        self._read: Read | None = None
        self.shape = len(self._ends), decoding.width
        self.dtype = np.dtype(decoding.dtype)

    def __reduce__(self):
        return DecodedArray, self._about  # another process has a processor of its own

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n width"]:
        folder, name, decoding, root = self._about
        found = np.zeros((len(rows), self.shape[1]), self.dtype)
        cells = [(place, self._cell(row)) for place, row in enumerate(np.asarray(rows).tolist())]
        cells = [(place, cell) for place, cell in cells if cell]
        if not cells:
            return found
        text = decoding.reading.kind == "text"
        inputs = [cell if text else os.path.join(root, cell) for _, cell in cells]
        for (place, cell), pieces in zip(cells, decoded(self._reader(), inputs), strict=True):
            where = f"{folder}: row {rows[place]}: {name} {shortened(cell)}"
            if isinstance(pieces, str):
                raise FeatureStoreError(
                    f"{where} cannot be read: {pieces}. Put it back into {root}, as it was, or "
                    f"{_CURE}"
                )
            row = row_of(pieces, decoding.pieces)
            if len(row) != self.shape[1]:
                raise FeatureStoreError(
                    f"{where} becomes a row of {len(row)} numbers, where it had {self.shape[1]}: "
                    f"{_CURE}"
                )
            found[place] = row
        return found

    def _cell(self, row: int) -> str:
        begin = self._ends[row - 1] if row else 0
        return self._cells[begin : self._ends[row]].tobytes().decode()

    def _reader(self) -> Read:
        folder, name, decoding, _ = self._about
        with self._lock:
            if self._read is None:
                check_installed()
                read, encoder = decoding.reading.reader(), Path(decoding.reading.encoder)
                kept = decoding.digest
                if kept is not None and digest_of(encoder, weights=False) != kept:
                    # No FeatureStoreError, which `digest` takes for one damaged row.
                    raise ValueError(
                        f"{folder}: {name} may be decoded otherwise than before, as files of "
                        f"{encoder} have changed: put them back as they were, or {_CURE}"
                    )
                self._read = read
            return self._read


def open_decoded(folder: Path) -> FeatureStore:
    """Opens a store that `save_decoded` has written; nothing is decoded yet.

    Args:
        folder: holds `decoded.json`.

    Raises:
        FeatureStoreError: it is damaged, or of another version.
    """
    arrays = read_arrays(folder)
    features = {}
    try:
        about = read_json(folder / DECODED)
        for name, of_name in about["modalities"].items():
            decoding = Decoding(**{**of_name, "reading": Reading(**of_name["reading"])})
            array = DecodedArray(folder, name, decoding, about["root"])
            features[name] = MappedRows(array, np.arange(len(array)))
        rows = len(next(iter(features.values())))
    except (ValueError, LookupError, TypeError, AttributeError, OSError, StopIteration) as error:
        what = f"{type(error).__name__}: {error}"
        raise FeatureStoreError(f"{folder} is damaged ({what}): {_CURE}") from error
    columns = {name: x for name, x in arrays.items() if not name.startswith(("cells.", "ends."))}
    found = {f"{folder}: {name}": len(array) for name, array in features.items()}
    found |= {where: len(array) for where, array in columns.values()}
    for where, number in found.items():
        if number != rows:
            raise FeatureStoreError(f"{where} has {number} rows, others {rows}: {_CURE}")
    known = columns_of(columns, features, rows)
    return FeatureStore(features=features, source=str(folder), **known)


def save_decoded(
    save: Callable[[str, np.ndarray], None],
    folder: Path,
    root: Path,
    cells: Mapping[str, Sequence[str]],
    decodings: Mapping[str, Decoding],
) -> None:
    """Writes all of a store but the arrays about its rows.

    Args:
        save: writes an array of a name into the folder.
        folder: of the store.
        root: the folder that paths are relative to.
        cells: of every modality a text or a path for each row, empty where it is absent.
        decodings: of every modality.
    """
    for name, texts in cells.items():
        parts = [text.encode() for text in texts]
        save(f"cells.{name}", np.frombuffer(b"".join(parts), np.uint8))
        save(f"ends.{name}", np.cumsum([len(part) for part in parts], dtype=np.int64))
    modalities = {name: dataclasses.asdict(decoding) for name, decoding in decodings.items()}
    about = {"root": str(root.absolute()), "modalities": modalities}
    write_text(folder / DECODED, json.dumps(about, indent=1) + "\n")

"""Feature stores as ArrayRecord shards: for more rows than fit into memory, on any file system.

A folder holds `store.json`, shards of records, and the arrays about the rows as .npy files with the
names that `open_arrays` knows. A record is one row: the concatenated bytes of all its modalities,
checked by ArrayRecord when it is read.
"""

import errno
import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, get_args

import ml_dtypes  # noqa: F401  (so that numpy knows bfloat16 by name)
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from jaxtyping import Bool, Int, Shaped, UInt8

from gramalign.counted import counted
from gramalign.data.examples import readable
from gramalign.data.files import save_array
from gramalign.data.last_read import LastRead
from gramalign.data.store import COLUMNS, FeatureStore, FeatureStoreError, MappedRows
from gramalign.files import locked, make_folder, whole, write_text

STORE = "store.json"
"""Written last: a folder without it is not packed to the end."""
OnBadRecord = Literal["error", "skip"]

_LOCK = "lock"  # held while packing
# What packing leaves behind, interrupted or not.
_SHARD = re.compile(r"features-\d{5,}-of-\d{5,}\.array_record(\.[0-9a-f]+\.part)?")
_COLUMN = re.compile(rf"(present\..+|{'|'.join(COLUMNS)})\.npy(\.[0-9a-f]+\.part)?")
_OTHERS = re.compile(rf"{re.escape(STORE)}(\.[0-9a-f]+\.part)?|{_LOCK}")
_KINDS = {"present": "b", "ids": "U", "labels": "iU", "split": "U", "groups": "i"}
"""What numpy calls the dtypes of columns."""


class Records:
    """Rows of a packed store, read in any order.

    Args:
        folder: of the store.
        shards: name and number of rows of each file.
        width: bytes of a record.
        on_bad: what an unreadable record becomes: an error, or a row of zeros that is absent and
            recorded in `bad`. A shard that cannot be opened is an error always.
    """

    def __init__(self, folder: Path, shards: Mapping[str, int], width: int, on_bad: OnBadRecord):
        folder = folder.absolute()  # shards are opened later, perhaps after a change of directory
        self._about = folder, dict(shards), width, on_bad
        self._paths = [folder / name for name in shards]
        self._ends = np.cumsum(list(shards.values()))
        self._width = width
        self.on_bad = on_bad
        self._readers: dict[int, Any] = {}
        self._last = LastRead(self._read)
        self.bad: set[int] = set()
        """Rows that were found to be unreadable."""

    def __reduce__(self):
        # Another process opens the shards itself, and is told which rows are bad.
        return Records, self._about, {"bad": self.bad}

    def read(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n width"]:
        """The records of some rows.

        Raises:
            FeatureStoreError: one is unreadable; the message names file and record.
        """
        return self._last(rows)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), self._width), np.uint8)
        shard_of = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shard_of).tolist():
            (places,) = np.nonzero(shard_of == shard)
            start = self._ends[shard - 1] if shard else 0
            within = (rows[places] - start).tolist()
            self._open(shard)
            try:
                found[places] = self._records(shard, within)
            except (RuntimeError, ValueError, IndexError, OSError):
                for place, record in zip(places, within, strict=True):
                    found[place] = self._one(shard, record, int(rows[place]))
        return found

    def _open(self, shard: int) -> None:
        if shard in self._readers:
            return
        path = self._paths[shard]
        try:
            # ArrayRecord would fail only when a record is read, as if that were at fault.
            path.open("rb").close()
        except OSError as error:
            cure = "put it back, or let it be read, or pack the store again"
            if error.errno in (errno.EMFILE, errno.ENFILE):
                cure = "allow more by `ulimit -n 65536`, or pack it again, with more --shard-rows"
            raise FeatureStoreError(
                f"{path} cannot be opened ({error.strerror}): {cure}"
            ) from error
        # Rows come in random order: reading ahead would read rows that are not needed.
        self._readers[shard] = ArrayRecordReader(str(path), "readahead_buffer_size:0")

    def _records(self, shard: int, within: list[int]) -> np.ndarray:
        content = b"".join(self._readers[shard].read(within))
        return np.frombuffer(content, np.uint8).reshape(len(within), self._width)

    def _one(self, shard: int, record: int, row: int) -> np.ndarray:
        try:
            return self._records(shard, [record])[0]
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            if self.on_bad == "error":
                raise FeatureStoreError(
                    f"{self._paths[shard]}: record {record} (row {row}) cannot be read: "
                    f"{str(error).splitlines()[0]}. Pack the store again, or train with "
                    "--on-bad-record skip, which leaves out what cannot be read then and after"
                ) from error
            self.bad.add(row)
            return np.zeros(self._width, np.uint8)


class PackedArray:
    """One modality of a packed store, as an array whose rows are read when indexed."""

    def __init__(self, records: Records, rows: int, width: int, dtype: np.dtype, offset: int):
        self.shape = (rows, width)
        self.dtype = dtype
        self._records = records
        self._bytes = slice(offset, offset + width * dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n width"]:
        # A copy: the records are kept for the next modality.
        return self._records.read(rows)[:, self._bytes].copy().view(self.dtype)

    @property
    def may_lose(self) -> bool:
        """Whether unreadable rows are left out instead of raising an error."""
        return self._records.on_bad == "skip"

    @property
    def bad(self) -> set[int]:
        """Rows that have proved unreadable so far."""
        return self._records.bad

    def lost(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of these rows proved unreadable when they were read."""
        bad = self._records.bad
        return np.isin(rows, list(bad)) if bad else np.zeros(len(rows), bool)

    def lose(self, rows: Int[np.ndarray, " n"]) -> None:
        """Records rows as unreadable."""
        self._records.bad.update(rows.tolist())


def open_packed(folder: Path, on_bad: OnBadRecord = "error") -> FeatureStore:
    """Opens a store that `pack` has written and checked.

    Args:
        folder: holds `store.json`.
        on_bad: what an unreadable record becomes: an "error" that names it, or with "skip" a row in
            which nothing is present, and which is counted.

    Raises:
        FeatureStoreError: a missing shard, or an array about the rows that does not fit.
    """
    if on_bad not in get_args(OnBadRecord):
        raise FeatureStoreError(f"on_bad_record is {on_bad!r}, expected error or skip")
    try:
        about = json.loads((folder / STORE).read_text())
        shards, modalities = dict(about["shards"]), dict(about["modalities"])
        columns = [f"{name}.npy" for name in about.get("columns", [])]
        offsets, width = _offsets(modalities)
    except (ValueError, KeyError, TypeError) as error:
        raise FeatureStoreError(
            f"{folder / STORE} is damaged ({error!r}): copy or pack the store again"
        ) from error
    missing = [name for name in (*shards, *columns) if not (folder / name).exists()]
    if missing:
        raise FeatureStoreError(
            f"{folder} lacks {', '.join(missing)}: copy or pack the store again"
        )
    rows = sum(shards.values())
    records = Records(folder, shards, width, on_bad)
    features = {}
    for name, (dim, dtype) in modalities.items():
        array = PackedArray(records, rows, dim, np.dtype(dtype), offsets[name])
        features[name] = MappedRows(array, np.arange(rows))

    def column(name: str) -> np.ndarray | None:
        path = folder / f"{name}.npy"
        if not path.exists():
            return None
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError, TypeError, TokenError) as error:
            raise FeatureStoreError(f"{path} is damaged: copy or pack the store again") from error
        if values.shape != (rows,):
            raise FeatureStoreError(
                f"{path} has {counted(len(values), 'row')}, its store {rows}: pack it again"
            )
        if values.dtype.kind not in _KINDS[name.partition(".")[0]]:
            raise FeatureStoreError(f"{path} has dtype {values.dtype}: pack the store again")
        return values

    masks = {name: column(f"present.{name}") for name in features}
    ids = column("ids")
    return FeatureStore(
        features=features,
        present={m: np.ones(rows, bool) if x is None else x for m, x in masks.items()},
        ids=np.arange(rows).astype(np.str_) if ids is None else ids,
        labels=column("labels"),
        split=column("split"),
        groups=column("groups"),
        source=str(folder),
    )


def pack(
    store: FeatureStore,
    folder: str | Path,
    *,
    shard_rows: int = 65536,
    record: Path | None = None,
    report: Callable[[int], None] = lambda rows: None,
) -> None:
    """Writes a store as ArrayRecord shards, and reads each back to compare it.

    A shard appears whole or not at all. After an interrupted pack, existing shards are compared
    with the store, and rewritten only if they differ.

    Args:
        store: the store to pack. Of one that was opened to leave out unreadable records, those
            rows are left out.
        folder: a new folder, or one where packing was interrupted.
        shard_rows: rows per shard.
        record: a file to keep beside them under its name, which tells how the store was made.
        report: called with the number of rows done.

    Raises:
        FeatureStoreError: the folder holds something else, or a shard is not what was written.
        FileExistsError: another process is packing there.
    """
    if shard_rows < 1:
        raise FeatureStoreError(f"shard_rows is {shard_rows}, expected at least 1")
    if store.mixture is not None:
        raise FeatureStoreError(
            f"{store.source} is a mixture, whose weights a packed store cannot hold: pack each of "
            "its stores, and mix those"
        )
    folder = Path(folder)
    make_folder(folder)
    _check_free(folder, record)
    busy = f"another process is packing into {folder}: wait for it, or choose another folder"
    with locked(folder / _LOCK, busy):
        _check_free(folder, record)  # now that nobody else can finish there
        for draft in folder.glob("*.part"):  # of a process that was killed
            draft.unlink()
        _pack(readable(store), folder, shard_rows, record, report)
        (folder / _LOCK).unlink()


def _check_free(folder: Path, record: Path | None) -> None:
    there = [path.name for path in folder.iterdir()] if folder.exists() else []
    ours = [_SHARD, _OTHERS]
    if any(map(_SHARD.fullmatch, there)):  # what comes after the shards is else somebody else's
        kept = [] if record is None else [re.compile(rf"{re.escape(record.name)}(\..+\.part)?")]
        ours += [_COLUMN, *kept]
    strange = [name for name in there if not any(kind.fullmatch(name) for kind in ours)]
    if strange or (folder / STORE).exists():
        held = ", ".join(sorted(strange)[:3]) or "a packed store"
        raise FeatureStoreError(f"{folder} already holds {held}: give a new folder")


def _pack(
    store: FeatureStore,
    folder: Path,
    shard_rows: int,
    record: Path | None,
    report: Callable[[int], None],
) -> None:
    starts = range(0, len(store), shard_rows)
    shards = {}
    for number, start in enumerate(starts):
        name = f"features-{number:05d}-of-{len(starts):05d}.array_record"
        rows = np.arange(start, min(start + shard_rows, len(store)))
        if not (folder / name).exists() or not _holds(folder / name, store, rows):
            _write(folder / name, store, rows)
        shards[name] = len(rows)
        report(int(rows[-1]) + 1)
    for left in {*folder.glob("*.npy"), *folder.glob("features-*")} - {folder / x for x in shards}:
        left.unlink()  # of another store or other shards, from an interrupted pack
    columns = {name: getattr(store, name) for name in COLUMNS}
    columns |= {f"present.{name}": mask for name, mask in store.present.items()}
    for name, values in columns.items():
        if values is not None:
            save_array(folder / f"{name}.npy", values)
    if record is not None:
        write_text(folder / record.name, record.read_text("utf-8"))
    about = {
        "modalities": {name: [x.shape[1], x.dtype.name] for name, x in store.features.items()},
        "columns": [name for name, values in columns.items() if values is not None],
        "shards": shards,
    }
    write_text(folder / STORE, json.dumps(about, indent=1) + "\n")


def _offsets(modalities: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    # Of each, its width and its dtype.
    sizes = [width * np.dtype(dtype).itemsize for width, dtype in modalities.values()]
    ends = [0, *itertools.accumulate(sizes)]
    return dict(zip(modalities, ends, strict=False)), ends[-1]


def _encoded(store: FeatureStore, rows: np.ndarray) -> UInt8[np.ndarray, "n width"]:
    # store.json has dtypes by names that say no byte order, which is this machine's.
    features = store.features.values()
    parts = [np.ascontiguousarray(x[rows], x.dtype.newbyteorder("=")) for x in features]
    return np.concatenate([part.view(np.uint8).reshape(len(rows), -1) for part in parts], axis=1)


def _chunks(store: FeatureStore, rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, range(store.rows_at_once, len(rows), store.rows_at_once))


def _write(path: Path, store: FeatureStore, rows: np.ndarray) -> None:
    with whole(path) as draft:
        # One record per group: every row can be read alone. Floats hardly compress.
        try:
            writer = ArrayRecordWriter(str(draft), "group_size:1,uncompressed")
            for chunk in _chunks(store, rows):
                for record in _encoded(store, chunk):
                    writer.write(record.tobytes())
            writer.close()
        except RuntimeError as error:  # such as a full disk
            raise OSError(f"cannot write {path}: {str(error).partition(chr(10))[0]}") from error
        if not _holds(draft, store, rows):
            raise FeatureStoreError(f"{draft} does not hold what was written to it: check the disk")


def _holds(path: Path, store: FeatureStore, rows: np.ndarray) -> bool:
    """Whether a shard can be read, and holds these rows."""
    try:
        reader = ArrayRecordReader(str(path))
        if reader.num_records() != len(rows):
            return False
        return all(
            b"".join(reader.read(int(part[0] - rows[0]), int(part[-1] - rows[0]) + 1))
            == _encoded(store, part).tobytes()
            for part in _chunks(store, rows)
        )
    except (RuntimeError, ValueError, IndexError, OSError):
        return False

"""Makes a feature store of a table of media, and goes on where it was killed."""

import functools
import hashlib
import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from flax import nnx

from gramalign import __version__
from gramalign.data import FeatureStore, open_store
from gramalign.data.store import COLUMNS
from gramalign.files import read_json
from gramalign.media.columns import Column, columns_of
from gramalign.media.encoding import Encoding, encoding_of, means
from gramalign.media.inputs import rows_of
from gramalign.media.joining import join
from gramalign.media.libraries import check_installed
from gramalign.media.making import Make, OnBadFile, Read, Report, make_chunks
from gramalign.media.pieces import Kind, reader
from gramalign.media.table import Table, read_table
from gramalign.media.work import check_free, work_on
from gramalign.models.pretrained import abstract, kinds
from gramalign.models.pretrained.fronts import Tokens, Tubelets
from gramalign.models.pretrained.weights import read_settings

Folders = Mapping[str, str | Path]
"""Folders of pretrained encoders, by column."""
Dtype = Literal["float32", "bfloat16"]

_BATCHES = 16  # in a chunk: what is lost when a job is killed, and has to be encoded again
_TEXTS, _ROWS = 16384, 256  # likewise of inputs, of texts and of others, which are large
_SUFFIXES = (".json", ".txt", ".model", ".safetensors")  # of what an encoder's folder needs

_log = logging.getLogger(__name__)


def features(
    table: str | Path,
    out: str | Path,
    *,
    text: Folders | None = None,
    image: Folders | None = None,
    video: Folders | None = None,
    audio: Folders | None = None,
    frames: int = 8,
    tokens: int | None = None,
    batch_size: int = 64,
    dtype: Dtype = "float32",
    inputs: bool = False,
    on_bad_file: OnBadFile = "error",
    report: Report = lambda modality, done, total: None,
) -> FeatureStore:
    """Encodes columns of a table of media, into a feature store with a modality for each.

    A cell of a text column is the text; of others, the path of a file, relative to the table's
    folder. A row lacks the modalities whose cells are empty. A feature is the mean embedding of a
    cell's pieces: a text or image is one, a sound is cut into windows as long as its encoder hears
    (10 seconds, and less of shorter sounds, where it takes samples), and of a video, a file or a
    folder of images, some frames are taken.

    If it is interrupted at any moment, the same call goes on, to the same bits on the same devices.
    Until it ends, what is done lies in a folder beside `out`, whose name ends in `.unfinished`.

    Args:
        table: a .csv, .tsv or .jsonl file with a row per example. Its columns `ids`, `labels`,
            `groups` and `split` are kept under these names.
        out: folder of the store, not there yet.
        text: the folder of the encoder of each column of texts.
        image: likewise, of paths of images.
        video: likewise, of paths of videos; the encoders are those of images, which see each frame
            by itself, or of videos, which see frames together.
        audio: likewise, of paths of sounds.
        frames: of a video, spread evenly, for encoders of images; one of videos takes as many as it
            was trained on.
        tokens: most of a text, whose rest is left out; None: as many as its encoder takes, or as
            Sentence Transformers gives it.
        batch_size: texts, images, frames or windows that are encoded at once, by all devices
            together.
        dtype: what encoders multiply in.
        inputs: keep what encoders take, in the place of what they make of it, for
            `gramalign.models.pretrained.Tower`: of each cell a row of tokens, pixels, a spectrum or
            samples. Of a video these are all of its frames, of a sound the window in its middle.
        on_bad_file: what becomes of a file that cannot be decoded: an "error" that names it, or
            with "missing" a missing modality, listed in the store's `unreadable.jsonl`.
        report: called with a modality, the number of its cells that are done, and that of all.

    Returns:
        The store, opened.

    Raises:
        FileExistsError: there is something at `out`, or another process is making it.
        FileNotFoundError: no table, or a file or an encoder that does not exist.
        ValueError: an argument, the table or an encoder's folder is not as expected, a file cannot
            be read, or what was begun for `out` is another job.
    """
    table, out = Path(table), Path(out)
    for name, value in {"frames": frames, "tokens": tokens, "batch_size": batch_size}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    for name, value, choices in (("dtype", dtype, Dtype), ("on_bad_file", on_bad_file, OnBadFile)):
        if value not in get_args(choices):
            raise ValueError(f"{name} is {value!r}, expected {' or '.join(get_args(choices))}")
    check_free(out)
    check_installed()
    rows = read_table(table)
    given: dict[Kind, Folders | None]
    given = {"text": text, "image": image, "video": video, "audio": audio}
    columns = columns_of(rows, {kind: of_kind or {} for kind, of_kind in given.items()})
    about = rows.about_rows()
    used = {*COLUMNS, *(column.name for column in columns)}
    if unused := [repr(name) for name in rows.columns if name not in used]:
        _log.info("not used of %s: %s", table, ", ".join(unused))
    options: dict[str, Any] = {"batch_size": batch_size, "dtype": dtype}
    if inputs:
        options = {"inputs": True}
    taken: dict[str, Kind] = {column.name: _taken(column) for column in columns}
    by_frame = any(column.kind == "video" and taken[column.name] == "image" for column in columns)
    options |= {"frames": frames} if by_frame else {}
    options |= {"tokens": tokens} if tokens is not None else {}
    job = _job(rows, columns, options)
    reads: dict[str, Read] = {}
    makes: dict[str, Make] = {}
    cells = {}
    encodings: dict[tuple[Path, Kind], Encoding] = {}
    for column in columns:
        key = column.encoder, taken[column.name]
        front = abstract(*key).front
        # Frames of a cell, and of a piece.
        each, at_once = frames if column.kind == "video" else 1, 1
        if isinstance(front, Tubelets):
            each = at_once = front.frames
        pieces = each // at_once
        reads[column.name] = reader(
            *(column.kind, column.encoder),
            model_type=read_json(column.encoder / "config.json")["model_type"],
            longest=_longest(column.encoder, front, tokens),
            frames=each,
            together=isinstance(front, Tubelets),
            filled=inputs,
        )
        if inputs:
            makes[column.name] = functools.partial(rows_of, pieces=pieces)
            cells[column.name] = _TEXTS if column.kind == "text" else max(1, _ROWS // each)
            continue
        if key not in encodings:
            encodings[key] = encoding_of(*key, dtype)
        makes[column.name] = functools.partial(
            means, encoding=encodings[key], batch_size=max(1, batch_size // at_once)
        )
        cells[column.name] = max(1, _BATCHES * batch_size // each)
    with work_on(out, job) as work:
        if not work.joined:
            for column in columns:
                make_chunks(
                    *(rows, column, reads[column.name], makes[column.name], work),
                    cells=cells[column.name],
                    on_bad_file=on_bad_file,
                    report=report,
                )
            join(work, rows, columns, cells=cells, about=about)
        work.publish()
    return open_store(out)


def _taken(column: Column) -> Kind:
    """What an encoder takes: of a video, the frames together or, as images, each by itself."""
    separate = column.kind == "video" and "video" not in kinds(column.encoder)
    return "image" if separate else column.kind


def _longest(encoder: Path, front: nnx.Module, tokens: int | None) -> int:
    """Most tokens of a text; 0 for what is none."""
    if not isinstance(front, Tokens):
        return 0
    path = encoder / "sentence_bert_config.json"
    if tokens is None and path.is_file():
        tokens = read_settings(path).get("max_seq_length")
    return front.longest if tokens is None else min(front.longest, tokens)


def _job(table: Table, columns: Sequence[Column], options: Mapping[str, Any]) -> dict[str, Any]:
    digests = {folder: _digest(folder) for folder in {column.encoder for column in columns}}
    return {
        "table": {"name": table.path.name, "rows": len(table), "digest": table.digest},
        "options": dict(options),
        "modalities": {
            column.name: {
                "kind": column.kind,
                "encoder": column.encoder.resolve().name,
                "digest": digests[column.encoder],
            }
            for column in columns
        },
        "versions": {
            "gramalign": __version__,
            **{name: importlib.metadata.version(name) for name in ("jax", "transformers")},
        },
    }


def _digest(folder: Path) -> str:
    """Of the names and contents of what an encoder is made of."""
    found = hashlib.blake2b(digest_size=16)
    for file in sorted([*folder.glob("*"), *folder.glob("1_Pooling/*")]):
        if file.suffix in _SUFFIXES and file.is_file():
            found.update(f"{file.relative_to(folder)}\n".encode())
            with file.open("rb") as content:
                of_file = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16))
            found.update(of_file.digest())
    return found.hexdigest()

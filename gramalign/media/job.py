"""Makes a feature store of a table of media, and goes on where it was killed."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from gramalign.data import FeatureStore, open_store
from gramalign.data.store import COLUMNS
from gramalign.decoding.inputs import widths_of
from gramalign.decoding.libraries import check_installed
from gramalign.decoding.pieces import Kind
from gramalign.files import check_free
from gramalign.media.columns import Column, columns_of
from gramalign.media.encoding import encoding_of
from gramalign.media.joining import join, kept_of, list_cells, save_columns
from gramalign.media.making import OnBadFile, Report, make_chunks
from gramalign.media.recipe import Dtype, Options, Recipe, recipe_of
from gramalign.media.record import record_of
from gramalign.media.table import Table, read_table
from gramalign.media.work import work_on

Folders = Mapping[str, str | Path]
"""Folders of pretrained encoders, by column."""

_BATCHES = 16  # in a chunk: what is lost when a job is killed, and has to be encoded again
_TEXTS, _ROWS = 16384, 256  # likewise of inputs, of texts and of others, which are large


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
    on_demand: bool = False,
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
        table: a .csv, .tsv, .jsonl or .parquet file with a row per example. Its columns `ids`,
            `labels`, `groups` and `split` are kept under these names. Without `ids`, the first
            column of files that every row has, and no two share, names the rows.
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
        on_demand: with `inputs`, keep where they come from, in their place: everything is decoded
            once, to see that it can be, and again whenever a row is read.
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
    options = Options(frames, tokens, batch_size, dtype, inputs, on_demand)
    if on_bad_file not in get_args(OnBadFile):
        wanted = " or ".join(get_args(OnBadFile))
        raise ValueError(f"on_bad_file is {on_bad_file!r}, expected {wanted}")
    check_free(out)
    check_installed()
    rows = read_table(table)
    given: dict[Kind, Folders | None]
    given = {"text": text, "image": image, "video": video, "audio": audio}
    columns = columns_of(rows, {kind: of_kind or {} for kind, of_kind in given.items()})
    about = {**_named(rows, columns), **rows.about_rows()}
    rows.tell_unused([*COLUMNS, *(column.name for column in columns)])
    job = record_of(rows, columns, options)
    load = functools.cache(encoding_of)
    recipes = {x.name: recipe_of(x.kind, x.encoder, options, load) for x in columns}
    cells = {x.name: _cells(x.kind, recipes[x.name], options) for x in columns}
    with work_on(out, job) as work:
        if not work.joined:
            for column in columns:
                recipe = recipes[column.name]
                if on_demand:
                    make = functools.partial(widths_of, pieces=recipe.pieces)
                else:
                    make = functools.partial(recipe.make, batch_size=batch_size)
                make_chunks(
                    *(rows, column, recipe.read, make, work),
                    cells=cells[column.name],
                    on_bad_file=on_bad_file,
                    report=report,
                )
            work.clear()
            kept = kept_of(work, rows, columns, cells=cells)
            if on_demand:
                digests = {name: each["digest"] for name, each in job["modalities"].items()}
                list_cells(work, rows, columns, kept, cells=cells, recipes=recipes, digests=digests)
            else:
                join(work, rows, columns, kept, cells=cells)
            save_columns(work, rows, kept, about)
        work.publish()
    return open_store(out)


def _named(table: Table, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Ids for a table without any: files that every row has, and no two share."""
    for column in columns:
        if column.kind != "text" and len(set(column.cells)) == len(column.cells) == len(table):
            return {"ids": np.array(column.cells)}
    return {}


def _cells(kind: Kind, recipe: Recipe, options: Options) -> int:
    """How many a chunk has."""
    frames = recipe.pieces * recipe.at_once
    if not options.inputs:
        return max(1, _BATCHES * options.batch_size // frames)
    return _TEXTS if kind == "text" else max(1, _ROWS // frames)

"""`gramalign features`: files of media in, a feature store out."""

import itertools
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rich.progress
import tyro

from gramalign.cli.console import console, progress_on
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.media import Words, by_name, quiet
from gramalign.counted import counted
from gramalign.media import features
from gramalign.media.making import OnBadFile
from gramalign.media.recipe import Dtype
from gramalign.models.pretrained import families_of


def _help(what: str, *kinds: str) -> Any:
    families = itertools.chain.from_iterable(map(families_of, kinds))
    return tyro.conf.arg(help=f"{what}. Encoders: {', '.join(families)}.")


@dataclass(frozen=True)
class Features:
    """Encode texts, images, videos and sounds by pretrained models, into a feature store.

    The table (.csv, .tsv, .jsonl or .parquet) has one row per example. Each column that an option
    names becomes a modality; a row lacks those whose cells are empty. A feature is the mean
    embedding of a cell's pieces: the text, the image, frames of the video, windows of the sound.
    Columns called ids, labels, groups and split are kept; without ids, files that every row has
    name the rows.

    An encoder is a folder as Hugging Face saves it, of one of the families below, which are the
    model_type in its config.json; `gramalign encoders` makes some of other checkpoints. Nothing is
    downloaded. If interrupted, run the same command again. Needs the extra `pretrained`. Example:
    `gramalign features media.csv --text caption=clip/ --image photo=clip/ --audio sound=whisper/
    --out my_features/`, then `gramalign train --data my_features/`.
    """

    table: tyro.conf.Positional[Path]
    """Table of examples."""
    out: Path
    """Folder to create."""
    text: Annotated[
        Words,
        _help("Columns of texts, and the folder of each one's encoder, as COLUMN=FOLDER", "text"),
    ] = ()
    image: Annotated[
        Words, _help("Columns of images: paths, relative to the table's folder", "image")
    ] = ()
    video: Annotated[
        Words,
        _help(
            "Columns of videos: paths of files, or of folders of images whose names are in order",
            *("image", "video"),
        ),
    ] = ()
    audio: Annotated[
        Words,
        _help("Columns of sounds: paths of what libsndfile reads (wav, flac, ogg, mp3)", "audio"),
    ] = ()
    frames: int = 8
    """Frames of a video, spread evenly, for encoders of images; one of videos takes as many as it
    was trained on."""
    tokens: int | None = None
    """Most tokens of a text, whose rest is left out; None: as many as its encoder takes, or as
    Sentence Transformers gives it."""
    batch_size: int = 64
    """Texts, images, frames or windows encoded at a time, by all devices together."""
    dtype: Dtype = "float32"
    """What encoders multiply in."""
    inputs: bool = False
    """Keep what encoders take, in the place of what they make of it, to train the encoders
    themselves: of each cell a row of tokens, pixels, a spectrum or samples, of a sound in its
    middle. No encoder then runs, so --batch-size and --dtype play no part."""
    on_demand: bool = False
    """With --inputs, keep where they come from, in their place: everything is decoded once, to see
    that it can be, and again whenever a row is read. Files and encoders must stay in their
    places."""
    on_bad_file: OnBadFile = "error"
    """A file that cannot be decoded: an error that names it, or a missing modality, listed in
    unreadable.jsonl."""

    def run(self) -> None:
        """Encode, and say what was made."""
        quiet()
        given = {
            kind: by_name(f"--{kind}", getattr(self, kind), "COLUMN=FOLDER")
            for kind in ("text", "image", "video", "audio")
        }
        keep_programs()
        screen, clock = console(), _Clock()
        columns = (rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn())
        columns += (rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn())
        with progress_on(screen, *columns) as progress:
            tasks = {}

            def report(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total)
                progress.update(tasks[name], completed=done)
                clock.see(name, done)

            store = features(
                self.table,
                self.out,
                **given,
                frames=self.frames,
                tokens=self.tokens,
                batch_size=self.batch_size,
                dtype=self.dtype,
                inputs=self.inputs,
                on_demand=self.on_demand,
                on_bad_file=self.on_bad_file,
                report=report,
            )
        for name, dim in store.dims.items():
            there = counted(int(store.present[name].sum()), "row")
            screen.print(f"{name}: {there}, {counted(dim, 'feature')} each{clock.rate(name)}")
        screen.print(f"made {self.out}: {counted(len(store), 'row')}", soft_wrap=True)
        then = ["gramalign", "train", "--data", str(self.out)]
        if self.inputs:
            folders = {m: x for of_kind in given.values() for m, x in of_kind.items()}
            encoders = json.dumps(folders, ensure_ascii=False)
            then += ["--model.tower", f"gramalign.models.pretrained:Tower(encoders={encoders})"]
        screen.print(f"next: {shlex.join(then)}", soft_wrap=True)


class _Clock:
    """How fast each modality is encoded, without what an earlier run has done."""

    def __init__(self):
        self._first: dict[str, tuple[float, int]] = {}
        self._last: dict[str, tuple[float, int]] = {}

    def see(self, name: str, done: int) -> None:
        self._last[name] = time.monotonic(), done
        self._first.setdefault(name, self._last[name])

    def rate(self, name: str) -> str:
        if name not in self._first:
            return ""
        (begin, before), (end, after) = self._first[name], self._last[name]
        if after == before:
            return ", encoded before"
        seconds = end - begin
        return f", {after - before} in {seconds:.1f} s: {(after - before) / seconds:.1f} a second"

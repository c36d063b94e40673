"""`gramalign join`: features that were made apart, as one feature store."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rich.progress
import tyro

from gramalign.cli.console import console, progress_on
from gramalign.cli.media import by_name
from gramalign.counted import counted
from gramalign.data.by_id import join
from gramalign.data.store import COLUMNS
from gramalign.media.table import read_table


@dataclass(frozen=True)
class Join:
    """Make one feature store of features that were made apart, by the ids of their rows.

    Each modality comes from a feature store with ids, in whatever order; from a .parquet, or a
    folder of them, with a column of ids and one of vectors; from an .h5 with data sets as the
    arrays of a store; or of vectors by id: one .npz, .safetensors or .h5, or a folder of .npy
    files, each of one example, whose id is the file's name. What a source lacks is a missing
    modality. Labels, split and groups that sources know of all rows are kept. Example: `gramalign
    join caption=texts.parquet film=frames.h5 sound=sounds/ --average --table videos.csv --out
    my_features/`, then `gramalign train --data my_features/`.
    """

    sources: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="MODALITY=PATH [...]")
    ]
    """Where each modality is; of a store of several, the one of that name."""
    out: Path
    """Folder to create."""
    table: Path | None = None
    """Table (.csv, .tsv, .jsonl or .parquet) with a column ids, which says what rows there are and
    in which order, and any of labels, split and groups, in the place of what sources know; None:
    all ids of all sources."""
    at_least: int = 2
    """Leave out rows with fewer modalities: with one alone, there is nothing to align."""
    average: bool = False
    """Take the mean of an example's vectors, where those by id are [n, width], such as of the
    frames of a video."""

    def run(self) -> None:
        """Join, and say what was made."""
        sources = by_name("join", [self.sources], "MODALITY=PATH")
        about = None if self.table is None else _about(self.table)
        screen = console()
        with progress_on(screen) as progress:
            tasks: dict[str, rich.progress.TaskID] = {}

            def report(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total)
                progress.update(tasks[name], completed=done)

            options = {"at_least": self.at_least, "average": self.average}
            found = join(sources, self.out, about=about, report=report, **options)
        for name, rows in found.present.items():
            left = found.unlisted[name]
            rest = f"; {counted(left, 'id')} not in the table" if left else ""
            screen.print(f"{name}: {counted(rows, 'row')}{rest}", soft_wrap=True)
        few = f"; left out {counted(found.few, 'id')} of fewer modalities than {self.at_least}"
        made = f"made {self.out}: {counted(found.rows, 'row')}{few if found.few else ''}"
        screen.print(made, soft_wrap=True)
        then = shlex.join(["gramalign", "train", "--data", str(self.out)])
        screen.print(f"next: {then}", soft_wrap=True)


def _about(path: Path) -> dict[str, np.ndarray]:
    table = read_table(path)
    if "ids" not in table.columns:
        there = ", ".join(map(repr, table.columns))
        cure = table.undivided or f"rename the one of {there} that holds them"
        raise ValueError(f"{path} has no column 'ids', by which rows are matched: {cure}")
    table.tell_unused(COLUMNS)
    return table.about_rows()

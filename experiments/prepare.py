"""Builds feature stores from public data sets that lie on this machine; nothing is downloaded.

    python -m experiments.prepare mfeat RAW_DIR OUT_DIR     handwritten numerals, five views
    python -m experiments.prepare emoji RAW_DIR OUT_DIR     drawings, languages, synthetic speech

OUT_DIR becomes a folder with one .npy file per modality, as `gramalign.data.load` opens it. Test
rows are the fifth whose sha1(id) is divisible by five. Features are not standardised: towers do
that with the moments of the training rows.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gramalign.cli.console import console
from gramalign.cli.errors import explained
from gramalign.data import FeatureStore, load

from .prepare_emoji import emoji
from .prepare_errors import RawDataError
from .prepare_mfeat import mfeat


@dataclass(frozen=True)
class Mfeat:
    """UCI Multiple Features: 2000 handwritten numerals in five sets of features, with labels."""

    raw_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RAW_DIR")]
    """Folder that holds mfeat-fac.csv, -fou, -kar, -pix and -zer."""
    out_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT_DIR")]
    """Folder to make; it must not hold anything yet."""

    def arrays(self) -> dict[str, np.ndarray]:
        return mfeat(self.raw_dir)


@dataclass(frozen=True)
class Emoji:
    """1390 emoji: two makers' drawings (one of them incomplete), three languages and speech."""

    raw_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RAW_DIR")]
    """Folder that holds emoji_views.npz and emoji_texts.jsonl."""
    out_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT_DIR")]
    """Folder to make; it must not hold anything yet."""
    text_width: int = 1024
    """Width of each language's features, into which its character n-grams are hashed."""

    def __post_init__(self):
        if self.text_width < 1:
            raise ValueError(f"text_width must be at least 1, got {self.text_width}")

    def arrays(self) -> dict[str, np.ndarray]:
        return emoji(self.raw_dir, self.text_width)


Source = (
    Annotated[Mfeat, tyro.conf.subcommand("mfeat")]
    | Annotated[Emoji, tyro.conf.subcommand("emoji")]
)


def prepare(source: Mfeat | Emoji) -> FeatureStore:
    """Builds the store, and opens it as a training run would.

    Args:
        source: which data set, where it lies and where to put the store.

    Returns:
        The store in `source.out_dir`, divided into training and test rows.

    Raises:
        RawDataError: a raw file is missing or damaged, or `out_dir` holds something.
        FeatureStoreError: the raw data hold NaN, or ids that are not unique.
    """
    out = source.out_dir
    # A file from earlier would be read as one more modality.
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RawDataError(f"{out} already exists: give another folder, or remove it")
    arrays = source.arrays()
    # Moved to its place as a whole, so that an interruption leaves no half of a store.
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(unfinished / f"{name}.npy", array, allow_pickle=False)
    load(unfinished)
    unfinished.replace(out)
    return load(out)


def summary(store: FeatureStore) -> Group:
    """The store's modalities with their widths and gaps, for a console."""
    test = store.part("test")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("modality", "width", "absent rows", "in the test part"):
        table.add_column(head, justify="left" if head == "modality" else "right")
    for name, width in store.dims.items():
        absent = [int((~part.present[name]).sum()) for part in (store, test)]
        table.add_row(name, str(width), *map(str, absent))
    title = Text(f"{store.source}: {len(store)} rows, {len(test)} of them for testing")
    return Group(title, "", table)


def main() -> None:
    source = tyro.cli(Source, prog="python -m experiments.prepare", description=__doc__)
    with explained():
        console().print(summary(prepare(source)))


if __name__ == "__main__":
    main()

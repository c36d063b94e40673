"""What a command leaves in a run's folder, or in another."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gramalign.evaluation.records import to_plain
from gramalign.files import check_folder, make_folder, whole, write_text
from gramalign.training.run_folder import RunFolder


def folder_for(run_folder: Path, out: Path | None) -> RunFolder:
    """Where figures go: the run's own folder if not elsewhere. Writing them makes it.

    Raises:
        NotADirectoryError: there is a file in its place, or above it.
    """
    folder = run_folder if out is None else out
    check_folder(folder)
    return RunFolder(folder)


def write_figures(path: Path, record: Mapping[str, Any]) -> None:
    """Figures as JSON, in which NaN and infinities, for which it has no words, are null."""
    make_folder(path.parent)
    write_text(path, _text(record))


def write_with_rows(
    path: Path, record: Mapping[str, Any], rows: Path, columns: Mapping[str, Any]
) -> None:
    """Figures, and what they are made of row by row: both are of one measurement."""
    make_folder(path.parent)
    with whole(path) as text, whole(rows) as arrays:
        text.write_text(_text(record))
        with arrays.open("wb") as file:
            np.savez_compressed(file, **columns)


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(to_plain(record), indent=2, allow_nan=False) + "\n"

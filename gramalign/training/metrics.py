"""The log of a run: one line per logged step, each a JSON object.

It holds nothing that depends on the clock, so a run that was interrupted and resumed writes exactly
the file that an uninterrupted one does.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from gramalign.files import Appended

Row = Mapping[str, float | int]
"""A line: the step, counted from 1, and the values measured there; those that are not finite are
null in the file."""


class MetricsLog:
    """Appends lines to a JSONL file, each flushed to the system before `write` returns.

    Args:
        path: the file; made if missing.
        last_step: lines of later steps, and one cut short by a crash, are dropped at opening.

    Raises:
        ValueError: an earlier line is not a log's.
    """

    def __init__(self, path: Path, last_step: int = 0):
        path.touch()
        with path.open("rb") as file:
            end = _end_of(file, last_step)
        os.truncate(path, end)
        self._file = Appended(path)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        """Appends one line; `row` holds numbers, its `step` among them."""
        values = {name: x if math.isfinite(x) else None for name, x in row.items()}
        self._file.write(json.dumps(values).encode() + b"\n")


def read_metrics(path: Path) -> list[Row]:
    """All lines of a log, with NaN for null, except one that is still being written.

    Raises:
        ValueError: a line is damaged.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    return [_row(path, number, x) for number, x in enumerate(lines, 1) if x.endswith(b"\n")]


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
        values = {name: math.nan if x is None else x for name, x in row.items()}
        if not isinstance(values["step"], int):
            raise ValueError(f"step is {values['step']!r}")
        for name, x in values.items():
            if not isinstance(x, (int, float)):
                raise ValueError(f"{name} is {x!r}")
        return values
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path}: line {number} is damaged ({error}): restore the line, or delete it"
        ) from error


def _end_of(file, last_step: int) -> int:
    """Offset after the last line that is complete and of `last_step` or before."""
    end = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        try:
            if json.loads(line)["step"] > last_step:
                break
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"{file.name}: line {number} is damaged ({error}): restore the line, or delete it"
            ) from error
        end += len(line)
    return end

"""`gramalign runs`: what runs there are, and how they stand."""

import itertools
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.table
import tyro

from gramalign.cli.console import console
from gramalign.evaluation.records import to_plain
from gramalign.training.metrics import Row, read_metrics
from gramalign.training.run_folder import RunFolder
from gramalign.training.validating import best_figure


@dataclass(frozen=True)
class Runs:
    """List all runs in and below some folders: what they train, progress, how well they do.

    A run is `finished` (it has its params.safetensors), `running` (a process holds its lock) or
    `stopped`: `gramalign train --out RUN --resume` continues it.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]] = (Path("runs"),)
    """Folders to search."""
    json: bool = False
    """Print everything as JSON."""

    def run(self) -> None:
        """Find and print."""
        for folder in self.folders:
            if not folder.is_dir():
                raise ValueError(f"{folder} is not a folder: give one that holds runs")
        found = [about(folder) for folder in runs_below(*self.folders)]
        if self.json:
            console().print(json.dumps(to_plain(found), indent=2), soft_wrap=True)
        elif not found:
            console().print(f"no runs in {', '.join(map(str, self.folders))}")
        else:
            console().print(table(found))


def runs_below(*roots: Path) -> Iterator[Path]:
    """The folders of runs in some folders, themselves included, each once; a run holds no others.

    Links are followed.
    """
    seen = set()
    for path, folders, files in itertools.chain.from_iterable(
        os.walk(root, followlinks=True) for root in roots
    ):
        place = os.path.realpath(path)
        if place in seen:  # by another way, or round a loop of links
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        if RunFolder(Path(path)).config.name in files:
            folders.clear()
            yield Path(path)


def about(folder: Path) -> dict[str, Any]:
    """What a run's folder tells: its state, and None or NaN for what is not known.

    Of files that this version does not know, or that are damaged, its state is "unreadable", and
    why is its `error`.

    `figure` is what its validation goes by, `best` the best of it so far, `examples_per_second` of
    each device, `written` the time of the log's last row in seconds since 1970.
    """
    try:
        return _about(folder)
    except (ValueError, OSError) as error:
        return {"run": str(folder), "state": "unreadable", "error": str(error)}
    except Exception as error:  # of rows that are none, or whatever a module of a user's own raises
        return {"run": str(folder), "state": "unreadable", "error": repr(error)}


def _about(folder: Path) -> dict[str, Any]:
    files = RunFolder(folder)
    config = files.saved_config()
    rows, timing = (
        read_metrics(path) if path.exists() else [] for path in (files.metrics, files.timing)
    )
    best = best_figure(config.validation, rows)
    log = files.metrics if rows else files.config
    return {
        "run": str(folder),
        "state": files.state(),
        "objective": config.objective,
        "data": config.data,
        "step": max((int(row["step"]) for row in rows), default=0),
        "steps": config.steps,
        "loss": _last(rows, "loss"),
        "skipped": _last(rows, "skipped"),
        "figure": config.validation.figure if config.validation.every else None,
        "best": None if math.isnan(best) else best,
        "examples_per_second": _last(timing, "examples_per_second"),
        "written": log.stat().st_mtime,
    }


def _last(rows: Sequence[Row], name: str) -> float | int | None:
    return next((row[name] for row in reversed(rows) if name in row), None)


def table(found: Sequence[Mapping[str, Any]]) -> rich.table.Table:
    """A line for each run."""
    shown = rich.table.Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("run", "objective", "state"):
        shown.add_column(name, overflow="fold")
    for name in ("step", "loss", "best", "examples/s", "last row"):
        shown.add_column(name, justify="right", no_wrap=True)
    for run in found:
        if "error" in run:
            shown.add_row(run["run"], run["error"], run["state"])
            continue
        shown.add_row(
            *(run["run"], run["objective"], run["state"], f"{run['step']}/{run['steps']}"),
            *(_number(run[name], ".4g") for name in ("loss", "best")),
            _number(run["examples_per_second"], ",.0f"),
            _ago(time.time() - run["written"]),
        )
    return shown


def _number(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ago(seconds: float) -> str:
    """Two digits of it.

    >>> _ago(8.0), _ago(5000.0), _ago(200_000.0)
    ('8 s ago', '83 min ago', '56 h ago')
    """
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * size:
            return f"{max(0, seconds) / size:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"

"""Records of other commands in a run's folder, as tables of every number that stands in them."""

from collections.abc import Iterator, Mapping
from typing import Any

from gramalign.report.blocks import Cell, Table


def record_table(name: str, record: Any) -> list[Table]:
    """A line for each number; no table where there is no record, or no number in it.

    Args:
        name: of the file.
        record: what JSON made of it; None: there is no file.
    """
    rows = [[Cell(path), Cell(f"{value:.4g}")] for path, value in _numbers(record)]
    return [Table(name, [[Cell("figure"), Cell("value")]], rows)] if rows else []


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path} / {name}" if path else str(name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{place}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value

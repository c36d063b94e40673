"""The benchmark's report as rich tables, complete without colour and within 100 columns."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Report = dict[str, Any]


def tables(report: Report) -> Group:
    """The tables of those parts that were measured."""
    parts: list[RenderableType] = []
    if "speed" in report:
        parts.append(_speed(report["speed"], report["machine"]["versions"]["torch"] is not None))
    if "memory" in report:
        parts += [_compiled(report["memory"]["compiled"]), _resident(report["memory"]["resident"])]
    if "accuracy" in report:
        parts.append(_accuracy(report["accuracy"]))
    return Group(*parts)


def _speed(rows: Sequence[Report], torch: bool) -> Group:
    table = _table(
        "", ">B", ">gramalign", ">torch peer", ">faster", ">same loss", ">products", ">ratio"
    )
    for row in rows:
        table.add_row(
            row["objective"],
            f"{row['batch']}",
            _seconds(row["seconds"]),
            _seconds(row["peer_seconds"]),
            "n/a" if row["speedup"] is None else Text(f"{row['speedup']:.1f}x", style="bold"),
            _agreement(row),
            _seconds(row["product_seconds"]),
            "n/a" if row["times_products"] is None else f"{row['times_products']:.2f}x",
        )
    notes = [
        "Torch peer: a determinant for each pair (gram); an SVD with full matrices (pmrl), on one "
        "thread or all, whichever is faster.",
        "Same loss: relative difference on the same numbers, before anything was timed.",
        "Products: the bare 4 (k - 1) matrix products of B x B x d; ratio: gramalign to these.",
    ]
    if not torch:
        notes.append(
            "n/a: torch is not installed here. For the peers' figures run `make bench`, or first "
            "pip install 'gramalign[bench]'."
        )
    first = rows[0]
    title = (
        f"Speed: median seconds for loss and gradient, k = {first['modalities']}, "
        f"d = {first['dim']}"
    )
    return _titled(title, table, *notes)


def _agreement(row: Report) -> Text:
    if row["agree"] is None:
        return Text("n/a")
    difference = f"{row['loss_difference']:.0e}"
    return Text(f"yes, {difference}") if row["agree"] else Text(f"NO, {difference}", style="red")


def _compiled(rows: Sequence[Report]) -> Group:
    batches = rows[0]["batches"]
    table = _table("", *(f">B = {batch}" for batch in batches), ">growth / linear")
    for row in rows:
        sizes = [_bytes(size) for size in row["temporary_bytes"]]
        growth = [f"{value:.2f}" for value in row["growth_over_linear"]]
        table.add_row(row["objective"], *sizes, ", ".join(growth) or "n/a")
    return _titled(
        f"Memory: temporary bytes of the compiled loss and gradient, k = {rows[0]['modalities']}, "
        f"d = {rows[0]['dim']}",
        table,
        "Beyond the embeddings and their gradients. Growth 1.00: in proportion to B.",
    )


def _resident(rows: Sequence[Report]) -> Group:
    table = _table("", ">B", ">peak", ">before the step", ">under the limit")
    for row in rows:
        table.add_row(
            row["objective"],
            f"{row['batch']}",
            Text(_bytes(row["peak_bytes"]), style="bold"),
            _bytes(row["before_bytes"]),
            Text("yes") if row["within_limit"] else Text("NO", style="red"),
        )
    return _titled(
        "Memory: peak resident memory of a fresh process, loss and gradient once",
        table,
        f"With interpreter, libraries and compiler; the limit is {_bytes(rows[0]['limit_bytes'])}.",
        "The peer is not run at this size: its B x B x k x k tensors want tens of GiB.",
    )


def _accuracy(rows: Sequence[Report]) -> Group:
    distances = list(dict.fromkeys(row["distance"] for row in rows))
    table = _table(">k", "", *(f">{distance:.0e}" for distance in distances))
    errors = {(row["modalities"], row["distance"]): row["median_relative_error"] for row in rows}
    for modalities in dict.fromkeys(row["modalities"] for row in rows):
        for method in rows[0]["median_relative_error"]:
            first = method == "gramalign"
            table.add_row(
                f"{modalities}" if first else "",
                method,
                *(_error(errors[modalities, distance][method]) for distance in distances),
                style="bold" if first else "",
            )
    return _titled(
        "Accuracy: median relative error of the volume in float32, by distance within the tuple",
        table,
        f"Against float64, {rows[0]['tuples']} tuples a cell, d = {rows[0]['dim']}. "
        "1 or more: no digit is right.",
    )


def _table(*columns: str) -> Table:
    """Columns by their heads; those that start with > are aligned to the right."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def _titled(title: str, table: Table, *notes: str) -> Group:
    return Group(Text(title, style="bold"), "", table, *(Text(x, style="dim") for x in notes), "")


def _seconds(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{1000 * value:.2f} ms" if value < 1 else f"{value:.2f} s"


def _bytes(value: int) -> str:
    return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.2f} GiB"


def _error(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.0e}"

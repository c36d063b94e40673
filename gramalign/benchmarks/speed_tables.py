"""The speed rows as tables: against the published code, and against the matrix products."""

import math
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from gramalign.benchmarks.cells import (
    NONE,
    Report,
    bytes_,
    percent,
    rate,
    seconds,
    table,
    times,
    titled,
)
from gramalign.benchmarks.rounds import OUT_OF_MEMORY
from gramalign.benchmarks.rows import over

_FULL = "no memory"


def speed_table(rows: Sequence[Report]) -> Group:
    """Seconds beside the peer's, and whether both computed the same."""
    heads = (">gramalign", ">spread", ">torch peer", ">faster", ">same loss")
    body = table(*_heads(rows), *heads, gap=_gap(rows))
    for row in rows:
        body.add_row(
            *_names(rows, row),
            _FULL if row["status"] == OUT_OF_MEMORY else seconds(row["seconds"]),
            _spread(row),
            _FULL if row["peer_note"] == OUT_OF_MEMORY else seconds(row["peer_seconds"]),
            Text(times(row["speedup"]), style="bold"),
            _agreement(row),
        )
    notes = [
        "Spread: half of the slowest minus the fastest round, over the median. Same loss: relative "
        "difference, before anything was timed.",
        "Torch peer: a determinant for each pair (gram); an SVD with full matrices (pmrl); the "
        "whole matrix of logits (clip). On a CPU with one thread or all, whichever is faster.",
    ]
    if any(row["fastest"] for row in rows):
        notes.append("*: the fastest tile of its workload.")
    return titled(
        f"Speed: median seconds for loss and gradient, {_same(rows)}",
        body,
        *notes,
        *_reasons(rows),
    )


def work_table(rows: Sequence[Report]) -> Group:
    """Seconds against the bare products, FLOP/s against the device's measured rate, and memory."""
    accelerator = any(row["share_of_device"] is not None for row in rows)
    more = (">of\ndevice", ">device\npeak") if accelerator else ()
    heads = (">to\nproducts", "> \nFLOP/s", ">of\ntheirs", "> \ntemporary", *more)
    body = table(*_heads(rows), *heads, gap=_gap(rows))
    for row in rows:
        cells = (
            Text(times(row["times_products"], 2), style="bold"),
            rate(row["flops_per_second"]),
            percent(row["share_of_products"]),
            bytes_(row["temporary_bytes"]),
        )
        if accelerator:
            cells += (percent(row["share_of_device"]), bytes_(row["device_peak_bytes"]))
        body.add_row(*_names(rows, row), *cells)
    notes = [
        "To products: seconds over those of only the matrix products that the loss cannot avoid, "
        "in the same tiles and dtype; n/a where most of a loss's products, as those of a head, are "
        "others, or without memory for them.",
        "FLOP/s: of matrix products; of theirs: share of what the products alone reach. Temporary: "
        "what the compiler reserves on a device beyond embeddings and gradients.",
    ]
    if accelerator:
        notes.append(
            "Of device: share of the FLOP/s of one large square product. Device peak: a device "
            "reports only its peak since the start, so n/a where something earlier used as much."
        )
    return titled("Work: how close to the bare matrix products", body, *notes)


def largest_table(rows: Sequence[Report]) -> Group:
    """The peer's largest batches, and both sides' seconds there: ours by the fastest tile."""
    heads = (">largest B", ">torch peer", ">its peak", ">gramalign", ">tile", ">faster")
    body = table("", "dtype", *heads)
    for row in rows:
        ways = sorted(row["gramalign"], key=lambda way: way["seconds"] or math.inf)
        ours = ways[0] if ways else {"seconds": None, "tile": NONE, "status": None}
        body.add_row(
            row["method"],
            row["dtype"],
            "none" if row["batch"] is None else f"{row['batch']}",
            seconds(row["seconds"]),
            bytes_(row["peak_bytes"]),
            _FULL if ours["status"] == OUT_OF_MEMORY else seconds(ours["seconds"]),
            f"{ours['tile']}",
            times(over(row["seconds"], ours["seconds"])),
        )
    ended = dict.fromkeys(f"{row['method']}: {row['ended_at']}" for row in rows)
    return titled(
        "The torch peer's largest batch on this device, by doubling",
        body,
        f"Doubling ended with: {', '.join(ended)}. Each side had the device to itself; tile: the "
        "fastest of gramalign's.",
    )


def _columns(rows: Sequence[Report]) -> dict[str, str]:
    """The columns, by head, in which rows differ; the rest is stated above the table."""
    columns = {"dtype": "dtype", "strategy": "strategy", "by": "implementation"}
    return {head: name for head, name in columns.items() if len({row[name] for row in rows}) > 1}


def _heads(rows: Sequence[Report]) -> list[str]:
    return ["", ">B", *_columns(rows), ">tile"]


def _gap(rows: Sequence[Report]) -> int:
    """Blanks between columns: fewer if there is one more column."""
    return 1 if _columns(rows) else 2


def _names(rows: Sequence[Report], row: Report) -> list[str]:
    columns = _columns(rows)
    method = row["method"].replace("_", "_\n") if len(columns) > 1 else row["method"]
    tile = f"{row['tile']}{'*' if row['fastest'] else ' '}"
    return [method, f"{row['batch']}", *(row[name] for name in columns.values()), tile]


def _same(rows: Sequence[Report]) -> str:
    """What all rows have in common."""
    first, differ = rows[0], _columns(rows)
    words = [f"k = {first['modalities']}", f"d = {first['dim']}"]
    words += [] if "dtype" in differ else [first["dtype"]]
    words += [f"{first['devices']} devices"] if first["devices"] > 1 else []
    words += [first["strategy"]] if first["strategy"] and "strategy" not in differ else []
    return ", ".join(words)


def _spread(row: Report) -> str:
    if row["spread"] is None:
        return NONE
    fastest, slowest = row["spread"]
    return f"\u00b1{percent((slowest - fastest) / 2 / row['seconds'])}"


def _agreement(row: Report) -> Text:
    if row["agree"] is None:
        return Text(NONE)
    difference = f"{row['loss_difference']:.0e}"
    return Text(f"yes, {difference}") if row["agree"] else Text(f"NO, {difference}", style="red")


def _reasons(rows: Sequence[Report]) -> list[str]:
    """Why rows have no peer, each reason once."""
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["peer_note"] not in (None, OUT_OF_MEMORY):
            where = reasons.setdefault(row["peer_note"], {})
            where[f"{row['method']} {row['batch']}"] = None
    return [f"n/a for {', '.join(where)}: {reason}." for reason, where in reasons.items()]

"""The benchmark's report as rich tables, complete without colour and within 100 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from gramalign.benchmarks.cells import (
    NONE,
    Report,
    bytes_,
    error,
    percent,
    seconds,
    simulated,
    table,
    times,
    titled,
)
from gramalign.benchmarks.speed_tables import largest_table, speed_table, work_table


def tables(report: Report) -> Group:
    """The tables of the parts that were measured."""
    parts: list[RenderableType] = []
    if "speed" in report:
        parts += [speed_table(report["speed"]), work_table(report["speed"])]
    if "peer_largest" in report:
        parts.append(largest_table(report["peer_largest"]))
    if "memory" in report:
        parts.append(_compiled(report["memory"]["compiled"]))
        if report["memory"]["resident"]:
            parts.append(_resident(report["memory"]["resident"]))
    if "accuracy" in report:
        parts.append(_accuracy(report["accuracy"]))
    if "training" in report:
        parts.append(_training(report["training"]))
    if "retrieval" in report:
        parts.append(_retrieval(report["retrieval"]))
    if "statistics" in report:
        parts += [_coverage(report["statistics"]), _type_one_error(report["statistics"])]
    return Group(*parts)


def _compiled(rows: Sequence[Report]) -> Group:
    batches = rows[0]["batches"]
    body = table("", *(f">B = {batch}" for batch in batches), ">growth / linear")
    for row in rows:
        sizes = [bytes_(size) for size in row["temporary_bytes"]]
        growth = [NONE if x is None else f"{x:.2f}" for x in row["growth_over_linear"]]
        body.add_row(row["method"], *sizes, ", ".join(growth) or NONE)
    return titled(
        f"Memory: temporary bytes of the compiled loss and gradient, k = {rows[0]['modalities']}, "
        f"d = {rows[0]['dim']}",
        body,
        f"One device, {rows[0]['dtype']}, tiles of {rows[0]['tile']}. On top of the embeddings "
        "and their gradients. Growth 1.00: in proportion to B.",
    )


def _resident(rows: Sequence[Report]) -> Group:
    body = table("", ">B", ">peak", ">before the step", ">under the limit")
    for row in rows:
        body.add_row(
            row["method"],
            f"{row['batch']}",
            Text(bytes_(row["peak_bytes"]), style="bold"),
            bytes_(row["before_bytes"]),
            Text("yes") if row["within_limit"] else Text("NO", style="red"),
        )
    return titled(
        "Memory: peak resident memory of a fresh process, loss and gradient once",
        body,
        "Float32, the engine's own tiles. Interpreter, libraries and compiler included; the limit "
        f"is {bytes_(rows[0]['limit_bytes'])}.",
        "The peer is not run here: it holds several arrays of B x B x k x k numbers at once.",
    )


def _accuracy(rows: Sequence[Report]) -> Group:
    distances = list(dict.fromkeys(row["distance"] for row in rows))
    body = table(">k", "", *(f">{distance:.0e}" for distance in distances))
    errors = {(row["modalities"], row["distance"]): row["median_relative_error"] for row in rows}
    for modalities in dict.fromkeys(row["modalities"] for row in rows):
        for method in rows[0]["median_relative_error"]:
            first = method == "gramalign"
            body.add_row(
                f"{modalities}" if first else "",
                method,
                *(error(errors[modalities, distance][method]) for distance in distances),
                style="bold" if first else "",
            )
    return titled(
        "Accuracy: median relative error of the volume in float32, by distance within the tuple",
        body,
        f"Against float64, {rows[0]['tuples']} tuples per cell, d = {rows[0]['dim']}. "
        "1 or more: no digit is right.",
    )


def _training(found: Report) -> Group:
    loop, restart = found["loop"], found["restart"]
    body = table("", ">")
    body.add_row("a step of digits in the loop", seconds(loop["loop_seconds"]))
    body.add_row("the compiled step alone", seconds(loop["step_seconds"]))
    body.add_row("the loop's part", percent(loop["overhead"]))
    for row in found["save"]:
        what = f"{row['parameters'] / 1e6:.0f} M parameters"
        what += f", {row['moments_each']} moments each" if row["moments_each"] else ""
        body.add_row(f"a save of {what}: stops the loop for", seconds(row["blocking_seconds"]))
        body.add_row(f"a save of {what}: is on disk after", seconds(row["seconds"]))
    for row in found["input"]:
        what = f"packed, 4 x 512 floats, batches of {row['batch']}: examples a second"
        body.add_row(what, f"{row['examples_per_second']:,.0f}")
    what = f"batches of {restart['rows']:,} examples, restarted: the first after"
    body.add_row(what, seconds(restart["seconds"]))
    return titled("Training: what comes on top of the compiled step", body)


def _retrieval(found: Report) -> Group:
    ranks = found["ranks"]
    body = table("", ">gramalign", ">beside", ">ratio")
    body.add_row(
        f"{ranks['examples']} x {ranks['examples']} of given scores, both ways",
        seconds(ranks["seconds"]),
        f"sorting {seconds(ranks['peer_seconds'])}",
        times(ranks["ratio"]),
    )
    body.add_row(
        f"{ranks['examples']} x {ranks['examples']} by cosine, both ways",
        seconds(ranks["seconds_from_embeddings"]),
        "",
        "",
    )
    for row in (found["volume"], found["large"]):
        body.add_row(
            f"{row['examples']} x {row['examples']} by volume, both ways",
            seconds(row["seconds"]),
            f"products {seconds(row['products_seconds'])}",
            times(row["over_products"], 2),
        )
    large = found["large"]
    same = "the same figures" if ranks["agree"] else "DIFFERENT FIGURES"
    return titled(
        "Retrieval: from scores, or embeddings, to figures",
        body,
        f"Given scores: beside a sort and a search per query, with {same}. By cosine: d = "
        f"{ranks['dim']}. By volume: k = {large['modalities']}, d = {large['dim']}, beside the "
        "bare matrix products.",
        f"The last in a fresh process on a {large['backend'].upper()}, compilation included: "
        f"{bytes_(large['peak_bytes'])} of the host's memory at its peak.",
    )


def _coverage(found: Report) -> Group:
    body = table("", ">n", ">covers the mean, %", ">all below, %", ">all above, %", ">width")
    last = None
    for row in found["coverage"]:
        body.add_row(
            "" if row["values"] == last else row["values"],
            f"{row['number']}",
            Text(simulated(row["coverage"]), style="bold"),
            f"{100 * row['too_low']:.1f}",
            f"{100 * row['too_high']:.1f}",
            f"{row['mean_width']:.3f}",
        )
        last = row["values"]
    return titled(
        "Statistics: how often a 95 % interval (BCa) covers the mean",
        body,
        f"{found['repetitions']} draws each, {found['resamples']} resamples; plus or minus a "
        "standard error of the simulation.",
        "n: queries, or groups of one to eight.",
    )


def _type_one_error(found: Report) -> Group:
    rows = found["type_one_error"]
    body = table(">seeds", ">hits vary by seed, points", ">over both, %", ">over queries, %")
    for row in rows:
        body.add_row(
            f"{row['seeds']}",
            f"{row['seed_points']}",
            Text(simulated(row["over_both"]), style="bold"),
            simulated(row["over_queries"]),
        )
    return titled(
        "Statistics: how often a test at 5 % finds a difference between equal methods",
        body,
        f"{found['repetitions']} draws each of hits on {rows[0]['queries']} queries; by seed: the "
        "standard deviation of a model's hits over seeds.",
    )

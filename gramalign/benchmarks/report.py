"""Measures everything that a plan asks for, and checks the results."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from gramalign.benchmarks import accuracy, largest, memory, retrieval, speed, statistics, training
from gramalign.benchmarks.machine import machine
from gramalign.benchmarks.peer import peer_device
from gramalign.benchmarks.plan import Plan
from gramalign.benchmarks.products import square_rate
from gramalign.benchmarks.rounds import OUT_OF_MEMORY, Failed, attempt
from gramalign.benchmarks.rows import over
from gramalign.benchmarks.workload import PUBLISHED, Workload
from gramalign.types import Say

Report = dict[str, Any]

RESIDENT_LIMIT = 2 * 2**30
"""Bytes that a fresh process may hold at its peak, up to RESIDENT_SIZE."""
RESIDENT_SIZE = 8192 * 4 * 512
"""Numbers in the embeddings, by default."""
SQUARE = 8192
"""Size of the square product that gives an accelerator's rate."""


def measure(
    plan: Plan, say: Say = lambda text: None, keep: Callable[[Report], None] = lambda report: None
) -> Report:
    """Measures what a plan asks for.

    Args:
        plan: what to run.
        say: called with progress messages, one line at a time.
        keep: called with the report so far, whenever it has grown.

    Returns:
        The report that goes into the JSON file.
    """
    report: Report = {"machine": machine(plan.threads), "plan": plan.to_json()}
    for part, found in _parts(plan, say):
        report[part] = found
        keep(report)
    return report


def _parts(plan: Plan, say: Say) -> Iterator[tuple[str, Any]]:
    """The parts of the report as they are measured; a part that grows is yielded again."""
    if "speed" in plan.parts:
        rates = _device_rates(plan, say)
        yield "device_flops_per_second", rates
        rows = []
        for workload in plan.workloads:
            more = []
            for more in _speed(plan, workload, rates, say):
                yield "speed", rows + more
            rows += more
    if "memory" in plan.parts:
        yield "memory", _memory(plan, lambda text: say(f"memory: {text}"))
    if "accuracy" in plan.parts:
        yield "accuracy", _accuracy(plan, say)
    if "training" in plan.parts:
        yield "training", training.measure(plan.repeats, say)
    if "retrieval" in plan.parts:
        yield "retrieval", retrieval.measure(plan.repeats, say)
    if "statistics" in plan.parts:
        yield "statistics", statistics.measure(say)
    # A part of its own, as JAX then has no memory allocated.
    if "peer-largest" in plan.parts:
        for rows in _peer_largest(plan, lambda text: say(f"peer's largest batch: {text}")):
            yield "peer_largest", rows


def problems(report: Report) -> list[str]:
    """What is wrong with the results, apart from speed."""
    found = []
    beside = [row for each in report.get("peer_largest", []) for row in each["gramalign"]]
    for row in report.get("speed", []) + beside:
        where = f"{row['method']} at B = {row['batch']} in {row['dtype']}, tile {row['tile']}"
        if row["status"] not in ("ok", OUT_OF_MEMORY):
            found.append(f"{where}: {row['status']}")
        elif row["agree"] is False:
            found.append(
                f"{where}: the losses differ, {row['loss']} here and {row['peer_loss']} in torch"
            )
        elif row["loss"] is not None and not math.isfinite(row["loss"]):
            found.append(f"{where}: the loss is {row['loss']}")
    found += [
        f"{row['method']} at B = {row['batch']} took {row['peak_bytes']} bytes, more than "
        f"{row['limit_bytes']}"
        for row in report.get("memory", {}).get("resident", [])
        if not row["within_limit"]
    ]
    if not report.get("retrieval", {"ranks": {"agree": True}})["ranks"]["agree"]:
        found.append("retrieval: the figures differ from those found by sorting")
    if "statistics" in report:
        found += statistics.problems(report["statistics"])
    return found


def _device_rates(plan: Plan, say: Say) -> dict[str, float | None]:
    """FLOP/s of an accelerator by dtype, None if that failed; a CPU's is of the bare products."""
    rates = {}
    for dtype in plan.dtypes if plan.platform != "cpu" else ():
        what = f"speed: a square product of {SQUARE}, {dtype}"
        say(what)
        found = attempt(lambda dtype=dtype: square_rate(dtype, SQUARE, plan.repeats))
        if isinstance(found, Failed):
            say(f"{what}: {found.why}")
        rates[dtype] = None if isinstance(found, Failed) else found
    return rates


def _speed(
    plan: Plan, workload: Workload, rates: Mapping[str, float | None], say: Say
) -> Iterator[list[Report]]:
    measured = speed.measure(
        workload,
        plan.ways_for(workload),
        repeats=plan.repeats,
        threads=plan.threads,
        peer_limit=plan.peer_limit,
        peer_seconds=plan.peer_seconds,
        say=lambda text: say(f"speed: {text}"),
    )
    for rows in measured:
        for row in rows:
            # All devices' products are in the row's, and one device's in the rate.
            rate = rates.get(row["dtype"])
            row["share_of_device"] = over(row["flops_per_second"], rate and rate * row["devices"])
        yield rows


def _peer_largest(plan: Plan, say: Say) -> Iterator[list[Report]]:
    """Yields all rows whenever one grows: the peer's search, and then gramalign beside it."""
    rows = []
    for method, dtype in product(filter(PUBLISHED.__contains__, plan.methods), plan.dtypes):
        say(f"{method}, {dtype}")
        of = method, plan.modalities, plan.dim, dtype
        found = largest.elsewhere(*of, peer_device(), plan.peer_seconds)
        rows.append({**found, "gramalign": []})
        yield rows
    for row in rows:
        if row["batch"] is None:
            continue
        workload = Workload(row["method"], row["batch"], plan.modalities, plan.dim, row["dtype"])
        for ours in speed.measure(
            workload,
            plan.ways_for(workload),
            repeats=plan.repeats,
            threads=plan.threads,
            peer_limit=0,  # it has just been timed, with the whole device to itself
            peer_seconds=plan.peer_seconds,
            say=say,
        ):
            row["gramalign"] = ours
            yield rows


def _memory(plan: Plan, say: Say) -> Report:
    batches, dtype, tile = tuple(sorted(plan.memory_batches)), plan.dtypes[0], plan.ways[0].tile
    shape = plan.modalities, plan.dim
    compiled = [memory.growth(method, batches, *shape, dtype, tile, say) for method in plan.methods]
    resident = []
    # An accelerator's memory is not the process's, and stands with the speed.
    for method in plan.methods if plan.platform == "cpu" else ():
        say(f"a fresh process for {method}, B = {plan.resident_batch}")
        row = memory.resident(method, plan.resident_batch, *shape)
        # Beyond the usual size the limit grows as the embeddings do.
        size = plan.resident_batch * plan.modalities * plan.dim
        limit = int(RESIDENT_LIMIT * max(1, size / RESIDENT_SIZE))
        within = row["peak_bytes"] < limit
        resident.append({**row, "limit_bytes": limit, "within_limit": within})
    return {"compiled": compiled, "resident": resident}


def _accuracy(plan: Plan, say: Say) -> list[Report]:
    rows = []
    for modalities in plan.accuracy_modalities:
        say(f"accuracy: k = {modalities}")
        rows += [
            accuracy.measure(modalities, plan.dim, distance) for distance in accuracy.DISTANCES
        ]
    return rows

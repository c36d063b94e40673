"""What was measured of a workload, and the row of figures that tables and JSON make of it."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gramalign.benchmarks.peer import LOSS_TOLERANCE
from gramalign.benchmarks.rounds import Timed
from gramalign.benchmarks.workload import Way, Workload

Row = dict[str, Any]

OUT_OF_MEMORY = "out of memory"


@dataclass
class Ours:
    """One way of gramalign's: what its first call told, and the sides that were timed."""

    way: Way
    timed: Timed
    products: Timed | None
    """None of a loss without any, or with other ones besides."""
    loss: float
    gradient_difference: float | None
    """Largest, relative to the gradients' largest entry."""
    flops: int
    product_flops: int
    temporary_bytes: int | None
    """What the compiler reserves on a device, beyond embeddings and gradients."""
    device_peak_bytes: int | None


@dataclass
class Theirs:
    """The peer: its results, and a side that was timed for each number of threads."""

    note: str | None = None
    """Why there is none."""
    loss: float | None = None
    gradients: list[np.ndarray] | None = None
    timed: dict[int, Timed] = field(default_factory=dict)
    peak_bytes: int | None = None


def row(workload: Workload, way: Way, ours: Ours | None, theirs: Theirs) -> Row:
    """All figures of one way, None where there was nothing to measure."""
    if ours is not None and ours.timed.full:
        ours = None
    figures: Row = {**asdict(workload), **asdict(way)}
    figures["status"] = OUT_OF_MEMORY if ours is None else "ok"
    return figures | _speed(ours, theirs) | _work(ours) | _agreement(workload, ours, theirs)


def mark_fastest(rows: list[Row]) -> list[Row]:
    """The rows of one workload with `fastest` set: True for one of several that were timed."""
    seconds = [row["seconds"] or math.inf for row in rows]
    several = sum(map(math.isfinite, seconds)) > 1
    best = seconds.index(min(seconds))
    return [{**row, "fastest": several and i == best} for i, row in enumerate(rows)]


def _speed(ours: Ours | None, theirs: Theirs) -> Row:
    seconds = None if ours is None else ours.timed.median()
    done = {n: side for n, side in theirs.timed.items() if not side.full}
    peers = {n: side.median() for n, side in done.items() if side.seconds}
    threads = min(peers, key=peers.__getitem__, default=None)
    peer = None if threads is None else peers[threads]
    note = theirs.note or (OUT_OF_MEMORY if len(done) < len(theirs.timed) and not peers else None)
    return {
        "seconds": seconds,
        "spread": None if ours is None else [min(ours.timed.seconds), max(ours.timed.seconds)],
        "peer_seconds": peer,
        "peer_threads": threads,
        "peer_note": note,
        "peer_peak_bytes": theirs.peak_bytes,
        "speedup": over(peer, seconds),
        "speedup_by_peer_threads": {n: over(each, seconds) for n, each in peers.items()},
        "rounds": {
            "seconds": [] if ours is None else ours.timed.seconds,
            "product_seconds": ours.products.seconds if ours and ours.products else [],
            "peer_seconds": {n: side.seconds for n, side in theirs.timed.items()},
        },
    }


def _work(ours: Ours | None) -> Row:
    names = ("product_seconds", "times_products", "flops", "flops_per_second")
    names += ("product_flops_per_second", "share_of_products", "temporary_bytes")
    if ours is None:
        return dict.fromkeys((*names, "device_peak_bytes"))
    seconds = ours.timed.median()
    floor = ours.products
    products = None if floor is None or floor.full else floor.median()
    rate = ours.flops / seconds
    product_rate = None if products is None else ours.product_flops / products
    figures = (products, over(seconds, products), ours.flops, rate)
    figures += (product_rate, over(rate, product_rate), ours.temporary_bytes)
    return dict(zip(names, figures, strict=True), device_peak_bytes=ours.device_peak_bytes)


def _agreement(workload: Workload, ours: Ours | None, theirs: Theirs) -> Row:
    difference = None
    if ours is not None and theirs.loss is not None:
        difference = abs(ours.loss - theirs.loss) / abs(theirs.loss)
    # Not >, so that a NaN on either side is no agreement.
    agree = None if difference is None else difference <= LOSS_TOLERANCE[workload.dtype]
    return {
        "agree": agree,
        "loss": None if ours is None else ours.loss,
        "peer_loss": theirs.loss,
        "loss_difference": difference,
        "gradient_difference": None if ours is None else ours.gradient_difference,
    }


def over(value: float | None, other: float | None) -> float | None:
    """The quotient of two figures, None where one was not measured."""
    return None if value is None or other is None else value / other

"""The measurements of a workload, and the row of figures that tables and JSON show."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gramalign.benchmarks.peer import LOSS_TOLERANCE
from gramalign.benchmarks.rounds import Failed, Timed
from gramalign.benchmarks.workload import Way, Workload

Row = dict[str, Any]


@dataclass
class Ours:
    """One way of gramalign: what its first call gave, and the sides that were timed."""

    way: Way
    timed: Timed
    products: Timed | None
    """None of a loss with none, or mostly with other ones; or if they failed."""
    loss: float
    first_seconds: float
    """Of the first call, compiled already: all that there is until the first round."""
    gradients: Mapping[str, np.ndarray] | None
    """Until they have been compared with the peer's."""
    gradient_difference: float | None = field(default=None, init=False)
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


def row(workload: Workload, way: Way, ours: Ours | Failed, theirs: Theirs) -> Row:
    """All figures of one way, None where there was nothing to measure.

    Its `status` is `ok`, or why there are none.
    """
    if isinstance(ours, Ours) and ours.timed.failed:
        ours = Failed(ours.timed.failed)
    status, done = (ours.why, None) if isinstance(ours, Failed) else ("ok", ours)
    figures: Row = {**asdict(workload), **asdict(way), "status": status}
    return figures | _speed(done, theirs) | _work(done) | _agreement(workload, done, theirs)


def mark_fastest(rows: list[Row]) -> list[Row]:
    """The rows of one workload with `fastest` set: True for the fastest of several timed ones."""
    seconds = [row["seconds"] or math.inf for row in rows]
    several = sum(map(math.isfinite, seconds)) > 1
    best = seconds.index(min(seconds))
    return [{**row, "fastest": several and i == best} for i, row in enumerate(rows)]


def _speed(ours: Ours | None, theirs: Theirs) -> Row:
    seconds = ours and _median(ours.timed)
    peers = {n: s for n, side in theirs.timed.items() if (s := _median(side)) is not None}
    threads = min(peers, key=peers.__getitem__, default=None)
    peer = None if threads is None else peers[threads]
    failed = [side.failed for side in theirs.timed.values() if side.failed]
    note = theirs.note or (failed[0] if failed and not peers else None)
    return {
        "seconds": seconds,
        "spread": [min(ours.timed.seconds), max(ours.timed.seconds)] if ours and seconds else None,
        "first_seconds": ours and ours.first_seconds,
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
    seconds = ours and _median(ours.timed)
    products = ours and ours.products and _median(ours.products)
    rate = ours.flops / seconds if ours and seconds else None
    product_rate = ours.product_flops / products if ours and products else None
    return {
        "product_seconds": products,
        "times_products": over(seconds, products),
        "flops": ours and ours.flops,
        "flops_per_second": rate,
        "product_flops_per_second": product_rate,
        "share_of_products": over(rate, product_rate),
        "temporary_bytes": ours and ours.temporary_bytes,
        "device_peak_bytes": ours and ours.device_peak_bytes,
    }


def _agreement(workload: Workload, ours: Ours | None, theirs: Theirs) -> Row:
    difference = None
    if ours is not None and theirs.loss is not None:
        difference = abs(ours.loss - theirs.loss) / abs(theirs.loss)
    # `<=` and not `not >`, so that a NaN on either side is no agreement.
    agree = None if difference is None else difference <= LOSS_TOLERANCE[workload.dtype]
    return {
        "agree": agree,
        "loss": ours and ours.loss,
        "peer_loss": theirs.loss,
        "loss_difference": difference,
        "gradient_difference": ours and ours.gradient_difference,
    }


def _median(side: Timed) -> float | None:
    """None if it failed, or had no round yet."""
    return side.median() if side.seconds and not side.failed else None


def over(value: float | None, other: float | None) -> float | None:
    """The ratio of two figures, None if one was not measured."""
    return None if value is None or other is None else value / other

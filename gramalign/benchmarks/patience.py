"""Predicts whether the peer takes too long: a call that has begun cannot be interrupted.

On a GPU torch decomposes many small matrices one by one, which can take minutes.
"""

import time
from collections.abc import Callable

from gramalign.benchmarks.workload import Method

GROWTH: dict[Method, int] = {"gram": 2, "pmrl": 1, "clip": 2}
"""The power of the batch that a peer's seconds grow with."""
TIMES = 8
"""From one batch that is tried to the next."""
SMALLEST = 32
"""Examples with which a call is too short to matter."""


def fits(run: Callable[[int], object], method: Method, batch: int, limit: int) -> bool:
    """Whether a call with a whole batch will take up to `limit` seconds, judged by smaller batches.

    Args:
        run: calls the peer with a number of examples.
        method: whose peer it is.
        batch: examples in the whole batch, which is never run here.
        limit: seconds. No call is begun that would take longer, judged by the previous one.
    """
    sizes = []
    while batch // TIMES >= SMALLEST:
        batch //= TIMES
        sizes.insert(0, batch)
    for size in sizes[:1]:
        run(size)  # loads libraries
    for size in sizes:
        if seconds(lambda size=size: run(size)) * TIMES ** GROWTH[method] > limit:
            return False
    return True


def may_double(method: Method, taken: float, limit: int) -> bool:
    """Whether a call with twice the examples will take up to `limit` seconds."""
    return taken * 2 ** GROWTH[method] <= limit


def seconds(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

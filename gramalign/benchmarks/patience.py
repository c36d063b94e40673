"""Whether the peer takes too long, told beforehand: a call that has begun cannot be ended.

On a GPU torch takes the decompositions of many small matrices one by one, minutes of them.
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
    """Whether a call with a whole batch will take up to `limit` seconds, as fewer examples tell.

    Args:
        run: calls the peer with so many examples.
        method: whose peer it is.
        batch: examples in the whole batch, with which it is not called.
        limit: seconds. No call is begun that the one before it says takes longer.
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
    """What one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

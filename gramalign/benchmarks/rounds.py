"""Times sides that take turns in rounds, and handles those that fail."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gramalign.types import Say

FILL = 0.2
"""Seconds that the calls of one round last, if one call is shorter."""
ANEW = 5.0
"""Seconds of a call beside which taking its memory anew counts for nothing."""
PAUSE = 0.05
"""Seconds after which the threads of the side that ran before have gone to sleep."""

OUT_OF_MEMORY = "out of memory"

T = TypeVar("T")

# Neither JAX nor torch has an error class for it in all versions. As in the messages, with blanks
# for underscores; the last are from libraries whose first call finds no memory left for a handle,
# and say so in their own way.
_SIGNS = (
    "resource exhausted",  # XLA
    "out of memory",  # torch and CUDA
    "can't allocate memory",  # torch on a CPU
    "failed to allocate",  # XLA's allocators
    "alloc failed",  # cuBLAS, cuSOLVER, cuDNN, cuSPARSE
    "allocation failed",  # cuDNN 9
    "status not initialized",  # cuBLAS, cuDNN
    "solverdncreate",  # cuSOLVER
    "dnn library initialization failed",  # XLA's cuDNN
)


@dataclass(frozen=True)
class Failed:
    """Replaces the result of a failed call: why, `OUT_OF_MEMORY` or what it raised."""

    why: str


@dataclass
class Timed:
    """What is timed, the seconds of each round and, once it has failed, why.

    `clean` runs after each round, untimed: memory that a side keeps is memory that the others lack.
    The first call of its next round then allocates it again, which is not timed either.
    """

    run: Callable[[], Any]
    clean: Callable[[], None] | None = None
    seconds: list[float] = field(default_factory=list)
    failed: str | None = None

    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)


def attempt(run: Callable[[], T]) -> T | Failed:
    """A call's result, or why a device, a library or the engine cannot; mistakes propagate."""
    try:
        return run()
    except MemoryError:
        return Failed(OUT_OF_MEMORY)
    # JAX's and torch's own are RuntimeErrors; the engine refuses a Score, or a tile, as a value.
    except (RuntimeError, ValueError) as error:
        text = str(error).lower().replace("_", " ")
        if any(sign in text for sign in _SIGNS):
            return Failed(OUT_OF_MEMORY)
        return Failed(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:400])


def in_turn(sides: Sequence[Timed], repeats: int, say: Say) -> None:
    """Runs every side once in every round, so that other load on the machine affects all."""
    for _ in rounds(sides, repeats, say):
        pass


def rounds(sides: Sequence[Timed], repeats: int, say: Say) -> Iterator[Sequence[Timed]]:
    """As `in_turn`, and yields the sides after every round."""
    for number in range(repeats):
        say(f"round {number + 1} of {repeats}")
        for side in sides:
            if side.failed:
                continue
            time.sleep(PAUSE)
            calls = attempt(lambda side=side: _round(side))
            if isinstance(calls, Failed):
                side.failed = calls.why
            else:
                side.seconds.append(statistics.median(calls))
        yield sides


def _round(side: Timed) -> list[float]:
    if side.clean is None:
        return list(_calls(side.run, FILL))
    try:
        return list(_calls(side.run, max(FILL, ANEW)))
    finally:
        side.clean()


def _calls(run: Callable[[], Any], short: float) -> Iterator[float]:
    """Seconds of single calls, for as long as a round lasts; a first `short` one is left out."""
    spent, first, timed = 0.0, None, False
    while spent < FILL or not timed:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        spent += seconds
        if first is None and spent < short:
            first = seconds  # its data had left the caches while the other sides ran
        else:
            timed = True
            yield seconds

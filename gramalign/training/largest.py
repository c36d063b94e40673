"""Finds the largest batch that fits, in as few compilations as possible.

Memory is nearly linear in the batch, so two batches predict where the limit lies, and one more
compilation checks the prediction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

CAP = 2**24
"""A batch that nobody has asked for yet."""
_SMALLEST = 2  # below it there are no negatives
_AIM = 0.98  # of the available memory: a guess that is a little too high wastes a compilation
_ENOUGH = 0.95


@dataclass(frozen=True)
class Trial:
    """A batch, and the memory it took."""

    batch_size: int
    fits: bool
    needed: int | None
    """Bytes on a device; None if it does not fit and the compiler does not say."""


@dataclass(frozen=True)
class Largest:
    """The result of the search."""

    batch_size: int
    """The largest batch known to fit; 0 if none that was tried does."""
    needed: int
    """Bytes that it takes on a device."""
    refused: int | None
    """The smallest batch known not to fit; None if none was met."""
    capped: bool
    """Whether the search ended at its cap and not at the memory's end."""


def largest_batch(
    attempt: Callable[[int], Trial],
    first: Trial,
    *,
    available: int,
    multiple: int,
    cap: int = CAP,
    attempts: int = 4,
) -> Largest:
    """Searches for the largest batch.

    Args:
        attempt: tries a batch.
        first: a trial that was made already.
        available: bytes of memory of a device.
        multiple: only multiples of this are tried.
        cap: the largest batch to try.
        attempts: the most trials; the search ends earlier if a batch takes nearly all available
            memory.

    >>> def attempt(size):  # 1000 bytes, and 10 for each example
    ...     return Trial(size, 1000 + 10 * size <= 50_000, 1000 + 10 * size)
    >>> largest_batch(attempt, attempt(64), available=50_000, multiple=8)
    Largest(batch_size=4800, needed=49000, refused=None, capped=False)
    """
    cap = cap // multiple * multiple
    trials = [first]
    for _ in range(attempts):
        fits, refused = _bounds(trials)
        if fits >= cap or _needed(trials, fits) >= _ENOUGH * available:
            break
        lowest = max(fits + multiple, _SMALLEST)
        highest = cap if refused is None else min(cap, refused - multiple)
        if lowest > highest:
            break
        guess = int(_guess(trials, available, lowest)) // multiple * multiple
        trials.append(attempt(min(max(guess, lowest), highest)))
    fits, refused = _bounds(trials)
    return Largest(fits, _needed(trials, fits), refused, capped=fits >= cap)


def _bounds(trials: list[Trial]) -> tuple[int, int | None]:
    """The largest batch that fits, or 0, and the smallest that does not."""
    fits = max((trial.batch_size for trial in trials if trial.fits), default=0)
    return fits, min((trial.batch_size for trial in trials if not trial.fits), default=None)


def _needed(trials: list[Trial], batch_size: int) -> int:
    return next((x.needed or 0 for x in trials if x.batch_size == batch_size), 0)


def _guess(trials: list[Trial], available: int, lowest: int) -> float:
    """Where a straight line through the two nearest trials meets the limit."""
    wanted = _AIM * available
    known = [(trial.needed, trial.batch_size) for trial in trials if trial.needed is not None]
    known.sort(key=lambda point: abs(point[0] - wanted))
    if len(known) >= 2:
        (y0, x0), (y1, x1) = known[:2]
        if (x1 - x0) * (y1 - y0) > 0:
            return x0 + (wanted - y0) * (x1 - x0) / (y1 - y0)
    fits, refused = _bounds(trials)
    if refused is None or fits:
        # A line through zero is too steep, as parameters take memory too: a safe guess.
        safe = fits * wanted / _needed(trials, fits)
        return safe if refused is None or safe < refused else (fits + refused) / 2
    if known:
        return 0.9 * refused * wanted / _needed(trials, refused)
    return math.sqrt(lowest * refused)  # halves the number of doublings that are left

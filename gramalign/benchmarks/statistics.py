"""Simulates whether intervals cover the truth, and tests keep their level, as often as they claim.

Values with a known mean, or methods that do not differ, are drawn again and again; coverage and
rejections of `gramalign.evaluation` are counted. Every draw has a fixed seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from gramalign.evaluation import bootstrap_interval, paired_difference
from gramalign.types import Say

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray | None]]

LEVEL = 0.95
LEAST = 0.90
"""Coverage below this is a problem."""
MOST = 0.10
"""More false alarms of the crossed test than this are one, where tests should have 5 %."""
LARGEST_RANK = 1000
HIT_RATE = 0.6
QUERIES = 100
SEEDS = (3, 5)
SEED_POINTS = (0, 2, 10)


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    repetitions: int = 2000
    """Of each case: a share of 95 % is known to a standard error of half a point."""
    resamples: int = 999
    """Of each bootstrap and each permutation test that is not exact."""


@dataclass(frozen=True)
class Case:
    """A distribution of values, its mean, and how many values are drawn."""

    name: str
    draw: Draw
    mean: float
    numbers: tuple[int, ...]


def measure(say: Say, sizes: Sizes | None = None) -> dict[str, Any]:
    """Measures everything.

    Args:
        say: called with progress messages.
        sizes: how much to measure; None: the full sizes.
    """
    sizes = sizes or Sizes()
    coverage = []
    for case in cases():
        for number in case.numbers:
            say(f"statistics: coverage of {case.name}, n = {number}")
            coverage.append(_coverage(case, number, sizes))
    errors = []
    for seeds in SEEDS:
        for points in SEED_POINTS:
            say(f"statistics: equal methods, {seeds} seeds that vary by {points} points")
            errors.append(_type_one_error(seeds, points, sizes))
    return {
        "repetitions": sizes.repetitions,
        "resamples": sizes.resamples,
        "coverage": coverage,
        "type_one_error": errors,
    }


def cases() -> list[Case]:
    """Values like those of retrieval, then the textbooks' hard cases."""
    ranks = np.arange(1, LARGEST_RANK + 1)
    reciprocal = float(np.sum(np.diff(np.log(ranks)) / ranks[:-1]))
    reciprocal /= math.log(LARGEST_RANK)
    return [
        Case("hits of 50 %", _hits(0.5), 0.5, (20, 100, 1000)),
        Case("hits of 80 %", _hits(0.8), 0.8, (20, 100, 1000)),
        Case("hits of 95 %", _hits(0.95), 0.95, (100, 1000)),
        Case("hits in groups", _grouped_hits, 2 / 3, (15, 30, 100)),
        Case("reciprocal ranks", _reciprocal_ranks, reciprocal, (20, 50, 100)),
        Case("exponential", lambda rng, n: (rng.exponential(size=n), None), 1.0, (30,)),
        Case("Student's t, df 3", lambda rng, n: (rng.standard_t(3, n), None), 0.0, (30,)),
    ]


def _hits(rate: float) -> Draw:
    return lambda rng, number: (np.where(rng.random(number) < rate, 1.0, 0.0), None)


def _grouped_hits(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """One to eight queries per group, and a rate for each group: captions of a video."""
    groups = np.repeat(np.arange(number), rng.integers(1, 9, number))
    rates = rng.beta(2, 1, number)[groups]
    return np.where(rng.random(len(groups)) < rates, 1.0, 0.0), groups


def _reciprocal_ranks(rng: np.random.Generator, number: int) -> tuple[np.ndarray, None]:
    """Ranks that are uniform on a logarithmic scale: many are 1, a few are hundreds."""
    return 1 / np.floor(np.exp(rng.random(number) * math.log(LARGEST_RANK))), None


def equal_methods(
    rng: np.random.Generator, seeds: int, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hits `[seeds, queries]` of two methods that differ only by chance.

    Each query has a difficulty, each method its own strengths among the queries, and each of its
    models its own noise and a level that moves its hits by about that many points.
    """
    spread = math.sqrt(3)  # of all but the level
    place = special.ndtri(HIT_RATE)
    density = math.exp(-(place**2) / 2) / math.sqrt(2 * math.pi)
    difficulty = rng.normal(size=QUERIES)

    def hits() -> np.ndarray:
        level = points / 100 / density * spread * rng.normal(size=(seeds, 1))
        margins = difficulty + rng.normal(size=QUERIES) + rng.normal(size=(seeds, QUERIES))
        return np.where(margins + level < place * spread, 1.0, 0.0)

    return hits(), hits()


def _coverage(case: Case, number: int, sizes: Sizes) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    low = high = 0
    widths = []
    for repetition in range(sizes.repetitions):
        values, groups = case.draw(rng, number)
        found = bootstrap_interval(
            values, groups=groups, level=LEVEL, resamples=sizes.resamples, seed=repetition
        )
        near = 1e-9  # shares of hits round
        low += found.high < case.mean - near
        high += found.low > case.mean + near
        widths.append(found.high - found.low)
    return {
        "values": case.name,
        "number": number,
        "coverage": share(sizes.repetitions - low - high, sizes.repetitions),
        "too_low": low / sizes.repetitions,
        "too_high": high / sizes.repetitions,
        "mean_width": float(np.mean(widths)),
    }


def _type_one_error(seeds: int, points: int, sizes: Sizes) -> dict[str, Any]:
    rng = np.random.default_rng([seeds, points])
    alarms = {"over_both": 0, "over_queries": 0}
    for repetition in range(sizes.repetitions):
        first, second = equal_methods(rng, seeds, points)
        found = paired_difference(first, second, resamples=sizes.resamples, seed=repetition)
        for name in alarms:
            alarms[name] += getattr(found, name).p_value <= 1 - LEVEL + 1e-9
    rates = {name: share(count, sizes.repetitions) for name, count in alarms.items()}
    return {"seeds": seeds, "seed_points": points, "queries": QUERIES, **rates}


def share(count: int, of: int) -> dict[str, float]:
    """A share with the standard error of a simulation of this size."""
    found = count / of
    return {"share": found, "standard_error": math.sqrt(found * (1 - found) / of)}


def problems(found: dict[str, Any]) -> list[str]:
    """Intervals that cover the truth too rarely, and tests that err too often."""
    small = [row for row in found["coverage"] if row["coverage"]["share"] < LEAST]
    often = [row for row in found["type_one_error"] if row["over_both"]["share"] > MOST]
    return [
        f"statistics: the interval of {row['values']}, n = {row['number']}, covers the mean in "
        f"{row['coverage']['share']:.1%} of draws, expected {LEVEL:.0%}"
        for row in small
    ] + [
        f"statistics: with {row['seeds']} seeds that vary by {row['seed_points']} points the "
        f"crossed test errs in {row['over_both']['share']:.1%} of cases"
        for row in often
    ]

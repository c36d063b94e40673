"""How far a figure of per-query values would move with other queries: bootstrap intervals.

Each resample draws as many queries as there are, or groups of them, with replacement, and computes
the figure again (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Resamples of few
units vary too little; the levels compensate for that (`expanded`). `gramalign bench --only
statistics` measures how often the intervals cover the truth.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import special

from gramalign.evaluation.numbering import numbered
from gramalign.evaluation.records import Record

Method = Literal["bca", "percentile", "centred"]

_CHUNK = 2**18  # drawn weights in memory at a time
_BINOMIAL = 16  # cost of a binomial random number, in uniform ones


@dataclass(frozen=True)
class BootstrapInterval(Record):
    """A figure and its bootstrap interval.

    Attributes:
        estimate: the figure of the values as they are.
        low: lower end; NaN for a single unit, which says nothing about variation.
        high: upper end.
    """

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values: Float[np.ndarray, " queries"],
    *,
    groups: Shaped[np.ndarray, " queries"] | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    method: Method = "bca",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> BootstrapInterval:
    """Interval of the mean, or of any other figure, of per-query values.

    Args:
        values: one per query, e.g. its reciprocal rank.
        groups: queries with one label are drawn together or not at all, e.g. captions of a video.
        statistic: the figure of an array `[n]`; the mean if not given, which is much faster.
        method: "percentile" takes the percentiles, expanded for few units; "bca" also corrects them
            for bias and for a spread that changes with the figure (Efron, 1987); "centred", for
            figures that resampling shifts far, subtracts the mean bias of the resamples or reflects
            the percentiles at the figure, whichever reaches further.
        level: of confidence.
        resamples: number of resamples.
        seed: of the resamples; the same seed gives the same interval.

    Returns:
        The figure and its interval: a point if all resamples give the same figure.

    Raises:
        ValueError: no value, values with several axes, a NaN, groups as in `numbered`, or an
            invalid method, level or number of resamples.

    >>> hits = np.repeat([0.0, 1.0], [30, 70])
    >>> bootstrap_interval(hits).to_json()
    {'estimate': 0.7, 'low': 0.6, 'high': 0.78}
    """
    values = np.asarray(values, np.float64)
    _check(values, method, level, resamples)
    rng = np.random.default_rng(seed)
    labels = np.arange(len(values)) if groups is None else numbered(groups, len(values), "groups")
    units = int(labels.max()) + 1
    if statistic is None:
        drawn, left_out, estimate = _of_mean(values, labels, resamples, rng)
    else:
        drawn, estimate = _of_any(statistic, values, labels, units, resamples, rng)
        left_out = np.array([math.nan])
        if method == "bca" and units > 1:
            left_out = np.array([statistic(values[labels != unit]) for unit in range(units)])
    if units == 1:
        return BootstrapInterval(estimate, math.nan, math.nan)
    tail = (1 - level) / 2
    quantiles = expanded(np.array([tail, 1 - tail]), units)
    if method == "bca":
        quantiles = _corrected(quantiles, drawn, left_out, estimate)
    low, high = np.quantile(drawn, special.ndtr(quantiles))
    if method == "centred":
        bias = float(drawn.mean()) - estimate
        low, high = (
            min(low - bias, 2 * estimate - high, estimate),
            max(high - bias, 2 * estimate - low, estimate),
        )
    return BootstrapInterval(estimate, float(low), float(high))


def expanded(shares: Float[np.ndarray, " ends"], units: int) -> Float[np.ndarray, " ends"]:
    """Normal quantiles of the levels to use, further out than those asked for if units are few.

    The mean of n draws with replacement has a variance with divisor n, not n - 1, and a percentile
    stands for a normal quantile where Student's t is due. With these levels the percentiles of a
    normal mean are the ends of its t interval (Hesterberg, What Teachers Should Know About the
    Bootstrap, The American Statistician 69, 2015, doi 10.1080/00031305.2015.1089789; for BCa too,
    as in his R package resample).

    Args:
        shares: levels between 0 and 1.
        units: number of units drawn from, at least two.

    Returns:
        The quantiles; from a few hundred units on, nearly those of the levels themselves.

    >>> expanded(np.array([0.025, 0.975]), 20).round(2).tolist()
    [-2.15, 2.15]
    >>> expanded(np.array([0.025, 0.975]), 1000).round(2).tolist()
    [-1.96, 1.96]
    """
    return math.sqrt(units / (units - 1)) * special.stdtrit(units - 1, shares)


def drawn_weights(
    counts: Int[np.ndarray, " units"], resamples: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "_chunk units"]]:
    """How often each unit is drawn, some resamples at a time.

    Args:
        counts: how many equal units each entry stands for; their sum is the number drawn.
        resamples: number of resamples.
        rng: the random generator.

    Yields:
        The weights of some resamples; each row sums to the number of units.
    """
    kinds, total = len(counts), int(counts.sum())
    few = kinds * _BINOMIAL < total
    at_once = max(1, _CHUNK // (kinds if few else total))
    of_unit = np.repeat(np.arange(kinds), counts)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        if few:
            yield rng.multinomial(total, counts / total, size=size)
        else:
            drawn = of_unit[rng.integers(0, total, (size, total), np.int32)]
            drawn += kinds * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * kinds).reshape(size, kinds)


def _of_mean(
    values: np.ndarray, labels: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The mean of each resample, without each unit in turn, and of all units."""
    sums, sizes = np.bincount(labels, values), np.bincount(labels).astype(np.float64)
    total, number = sums.sum(), sizes.sum()
    # Units with equal values are one kind: hits have two kinds, however many queries there are.
    kinds, of_kind, counts = np.unique(
        np.stack([sums, sizes]), axis=1, return_inverse=True, return_counts=True
    )
    drawn = []
    for weights in drawn_weights(counts, resamples, rng):
        drawn.append((weights @ kinds[0]) / (weights @ kinds[1]))
    with np.errstate(invalid="ignore"):  # of one unit, nothing is left
        left_out = ((total - kinds[0]) / (number - kinds[1]))[of_kind.ravel()]
    return np.concatenate(drawn), left_out, float(total / number)


def _of_any(
    statistic: Callable[[np.ndarray], float],
    values: np.ndarray,
    labels: np.ndarray,
    units: int,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Any figure of each resample, and of all units."""
    estimate = float(statistic(values))
    if math.isnan(estimate):
        raise ValueError("statistic is NaN for the given values, expected a number")
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    drawn = np.empty(resamples)
    for place in range(resamples):
        chosen = rng.integers(0, units, units)
        rows = chosen if units == len(values) else np.concatenate([members[u] for u in chosen])
        drawn[place] = statistic(values[rows])
    return drawn, estimate


def _corrected(
    quantiles: np.ndarray, drawn: np.ndarray, left_out: np.ndarray, estimate: float
) -> np.ndarray:
    """The normal quantiles that BCa uses instead."""
    near = 1e-9 * max(np.ptp(drawn), np.finfo(float).tiny)  # sums in another order round otherwise
    below = np.mean(drawn < estimate - near)
    share = below + np.mean(np.abs(drawn - estimate) <= near) / 2
    share = np.clip(share, 1 / (len(drawn) + 1), 1 - 1 / (len(drawn) + 1))
    bias = special.ndtri(share)
    off = left_out.mean() - left_out
    spread = np.sum(off**2) ** 1.5
    acceleration = np.sum(off**3) / (6 * spread) if spread > 0 else 0.0
    moved = bias + quantiles
    # With few units the outermost levels may lie beyond the formula's pole: held just before it.
    return bias + moved / np.maximum(1 - acceleration * moved, 1e-9)


def _check(values: np.ndarray, method: str, level: float | int, resamples: int) -> None:
    if values.ndim != 1:
        raise ValueError(
            f"values: got shape {values.shape}, expected one value per query; for several tasks "
            "give unit_values(values)"
        )
    if not len(values):
        raise ValueError("values: got none, expected at least one query; evaluate some rows")
    unusable = np.flatnonzero(~np.isfinite(values))
    if len(unusable):
        raise ValueError(
            f"values: {len(unusable)} of {len(values)} are NaN or infinite, the first is number "
            f"{unusable[0]}; leave out those that are not queries"
        )
    if method not in get_args(Method):
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(get_args(Method))}")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected a number between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples: got {resamples}, expected at least 1")

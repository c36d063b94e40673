"""Is one method better than another, or was it the queries, or the seeds?

Two methods answer the same queries and are trained with the same seeds. `paired_difference` says
how certain their difference is, in two ways:

- *over queries*: had the same models answered other queries. Values are averaged over seeds; their
  difference gets a bootstrap interval and a sign-flip permutation test.
- *over both*: had the seeds differed too, a statement on methods and not just on these models.
  Seeds and queries are crossed random effects, each with a part in the variance of the mean
  difference; Student's t uses Satterthwaite's degrees of freedom for both (Biometrics Bulletin 2,
  1946, doi 10.2307/3002019). In simulations it holds its
  5 % with five seeds; with three it errs in up to 8 and with two in up to 12 of 100 cases, where
  tests over queries alone err in up to 86 (see `gramalign bench --only statistics`). One seed says
  nothing about others; the result is then the same as over queries.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

from gramalign.counted import counted
from gramalign.evaluation.bootstrap import bootstrap_interval
from gramalign.evaluation.records import Record

# Sums of signed sizes are exact up to this many of them: enough for hits of thousands of queries.
_EXACT = 2**15
_CHUNK = 2**20


@dataclass(frozen=True)
class Evidence:
    """A 95 % interval of a difference, and the p-value under no difference, both two-sided."""

    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class PairedDifference(Record):
    """How much better one method is than another on the same queries.

    Attributes:
        difference: of the means.
        over_queries: had the same models been asked other queries.
        over_both: had the models also been trained with other seeds; the same as `over_queries` if
            there is one seed.
    """

    difference: float
    over_queries: Evidence
    over_both: Evidence


def paired_difference(
    first: Float[np.ndarray, "_seeds units"],
    second: Float[np.ndarray, "_seeds units"],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compares two methods query by query.

    Args:
        first: value of each unit under each seed (`unit_shares`).
        second: the same units under the same seeds. One of the two may have a single row for a
            method without seeds, such as a baseline in closed form.
        resamples: of the bootstrap, and of the permutation test where it is not exact.
        seed: of the resampling.

    Returns:
        The difference first - second, its intervals and p-values. A single unit gives no interval
        over queries, and p is 1. If no unit differs, the interval is the point 0, and p is 1.

    Raises:
        ValueError: units or seeds that differ between the two, none at all, or a NaN.

    >>> found = paired_difference(np.array([[1.0] * 9 + [0.0]]), np.array([[0.0] * 10]))
    >>> round(found.difference, 3), found.over_queries.p_value
    (0.9, 0.00390625)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or second.ndim != 2:
        raise ValueError(
            f"first and second: got shapes {first.shape} and {second.shape}, expected a row for "
            "each seed and a column for each unit; for one seed give values[None]"
        )
    seeds = sorted({len(first), len(second)})
    if 0 in seeds or first.shape[1] != second.shape[1] or (len(seeds) == 2 and seeds[0] != 1):
        raise ValueError(
            f"first and second: got {first.shape} and {second.shape} seeds and units, expected the "
            "same queries under the same seeds, or one row for a method without seeds"
        )
    shared = np.broadcast_shapes(first.shape, second.shape)
    differences = np.broadcast_to(first, shared) - np.broadcast_to(second, shared)
    by_unit = differences.mean(0)
    interval = bootstrap_interval(by_unit, resamples=resamples, seed=seed)
    over_queries = Evidence(
        interval.low, interval.high, sign_flip_test(by_unit, resamples=resamples, seed=seed)
    )
    several = len(differences) > 1 and len(by_unit) > 1
    return PairedDifference(
        difference=float(by_unit.mean()),
        over_queries=over_queries,
        over_both=crossed_test(differences) if several else over_queries,
    )


def sign_flip_test(
    differences: Float[np.ndarray, " units"], *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value under no difference, where each unit's sign is a fair coin flip.

    Exact where all that differ do so by one size: for hits and misses of one model it is McNemar's
    exact test. Exact too where the flipped sums take few values, as with hits of several. Otherwise
    flips are drawn at random, and the p-value is (1 + number at least as far from 0) /
    (1 + resamples), which holds its level (Phipson and Smyth, 2010, doi 10.2202/1544-6115.1585).

    Args:
        differences: of two methods on each unit.
        resamples: number of random flips where it is not exact.
        seed: of these.

    Returns:
        The p-value; 1 where nothing differs.

    Raises:
        ValueError: no unit, or a NaN.

    >>> sign_flip_test(np.array([1.0, 1.0, 1.0, 1.0]))
    0.125
    """
    differences = np.asarray(differences, np.float64)
    if not len(differences) or not np.isfinite(differences).all():
        raise ValueError(
            f"differences: got {len(differences)} with "
            f"{int((~np.isfinite(differences)).sum())} NaN or infinite, expected at least one, all "
            "finite numbers; leave out those that are not queries"
        )
    total = np.abs(differences).sum()
    if total == 0:
        return 1.0
    # As fractions of the largest sum, rounded, so that equal sums compare as equal.
    shares = (differences / total).round(12)
    shares = shares[shares != 0]
    sizes, counts = np.unique(np.abs(shares), return_counts=True)
    if len(sizes) == 1:
        from scipy import stats  # takes a second to import

        return float(stats.binomtest(int(np.sum(shares > 0)), len(shares)).pvalue)
    observed = abs(float(shares.sum())) - 1e-9
    exact = _flipped(sizes, counts)
    if exact is not None:
        sums, chances = exact
        return min(1.0, float(chances[np.abs(sums) >= observed].sum()))
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // len(shares))
    extreme = 0
    for start in range(0, resamples, at_once):
        drawn = min(at_once, resamples - start)
        bits = np.frombuffer(rng.bytes(drawn * math.ceil(len(shares) / 8)), np.uint8)
        ups = np.unpackbits(bits.reshape(drawn, -1), axis=1, count=len(shares))
        sums = 2 * (ups @ shares) - shares.sum()
        extreme += int(np.sum(np.abs(sums) >= observed))
    return (1 + extreme) / (1 + resamples)


def crossed_test(differences: Float[np.ndarray, "seeds units"]) -> Evidence:
    """The t test and 95 % interval of a mean difference over seeds and queries, both random.

    Args:
        differences: of two methods, under at least two seeds, on at least two units.

    Returns:
        The interval and the p-value; without any variation, a point, and 1 or 0.

    Raises:
        ValueError: fewer than two seeds or units.
    """
    differences = np.asarray(differences, np.float64)
    seeds, units = differences.shape if differences.ndim == 2 else (1, differences.size)
    if min(seeds, units) < 2:
        raise ValueError(
            f"differences: got {counted(seeds, 'seed')} and {counted(units, 'unit')}, expected at "
            "least two of each; with one seed use bootstrap_interval and sign_flip_test, which are "
            "over queries"
        )
    mean = float(differences.mean())
    of_seed, of_unit = differences.mean(1), differences.mean(0)
    left = differences - of_seed[:, None] - of_unit + mean
    seed_square = units * float(np.sum((of_seed - mean) ** 2)) / (seeds - 1)
    unit_square = seeds * float(np.sum((of_unit - mean) ** 2)) / (units - 1)
    left_square = float(np.sum(left**2)) / ((seeds - 1) * (units - 1))
    # A negative estimate counts as 0; and the result is never more certain than over queries alone.
    both = max(seed_square + max(unit_square - left_square, 0.0), unit_square)
    error = math.sqrt(both / (seeds * units))
    if error <= 1e-12 * np.abs(differences).max():
        return Evidence(mean, mean, 1.0 if abs(mean) <= error else 0.0)
    freedom = both**2 / (seed_square**2 / (seeds - 1) + unit_square**2 / (units - 1))
    half_width = float(special.stdtrit(freedom, 0.975)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    return Evidence(mean - half_width, mean + half_width, p_value)


def holm(
    p_values: Float[np.ndarray, " tests"], *, family: int | None = None
) -> Float[np.ndarray, " tests"]:
    """P-values corrected for multiple tests, so that they bound the chance of any false alarm.

    Args:
        p_values: of each test; NaN where there was none.
        family: number of tests from which these were selected by their data; the number of p-values
            if not given. Testing all against the best of m methods selects among m (m - 1) / 2.

    Returns:
        The corrected p-values (Holm, Scandinavian Journal of Statistics, 1979); NaN stays NaN.

    Raises:
        ValueError: a p-value outside [0, 1], or a family smaller than the number of p-values.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(p_values))
    family = len(tested) if family is None else family
    if family < len(tested):
        raise ValueError(
            f"family: got {family}, expected at least the number of tests, {len(tested)}"
        )
    if (p_values[tested] < 0).any() or (p_values[tested] > 1).any():
        raise ValueError(f"p_values: got {p_values}, expected numbers in [0, 1], or NaN")
    order = tested[np.argsort(p_values[tested], kind="stable")]
    corrected = np.full(len(p_values), math.nan)
    scaled = p_values[order] * (family - np.arange(len(order)))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


def _flipped(sizes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """All sums of signed sizes with their probabilities, or None if there are too many."""
    from scipy import stats  # takes a second to import

    sums, chances = np.zeros(1), np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        if len(sums) * (count + 1) > 16 * _EXACT:
            return None
        ups = np.arange(count + 1)
        sums = (sums[:, None] + size * (2 * ups - count)).ravel()
        chances = np.outer(chances, stats.binom.pmf(ups, count, 0.5)).ravel()
        sums, place = np.unique(sums.round(11), return_inverse=True)
        chances = np.bincount(place, chances)
        if len(sums) > _EXACT:
            return None
    return sums, chances

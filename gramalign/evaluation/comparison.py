"""Several objectives over several seeds: means, intervals, tests against the best, ranks."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy import special

from gramalign.evaluation.bootstrap import BootstrapInterval, bootstrap_interval
from gramalign.evaluation.ranking import Rank, ranking
from gramalign.evaluation.records import Record, to_plain
from gramalign.evaluation.significance import PairedDifference, holm, paired_difference
from gramalign.evaluation.units import unit_shares, unit_values
from gramalign.types import Say

Hits = Mapping[str, Float[np.ndarray, "_tasks _examples"]]
"""Of one seed: figure -> hits of each task and example, as `Evaluation.summary_hits` gives them."""

LEVEL = 0.05
"""Corrected p-values up to this tell an objective from the best."""


@dataclass(frozen=True)
class Interval(Record):
    """A mean over seeds with its 95 % t-interval.

    Attributes:
        mean: the mean; NaN where no seed has the figure.
        half_width: the interval is mean - half_width to mean + half_width; NaN below two seeds.
        seeds: number of seeds that have the figure.
    """

    mean: float
    half_width: float
    seeds: int

    def __str__(self) -> str:
        """E.g. `84.2 ± 0.6`, without the interval for one seed."""
        if not self.seeds:
            return "n/a"
        if math.isnan(self.half_width):
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} ± {self.half_width:.1f}"


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval (Student's t) of a figure with one value per seed.

    Args:
        values: one value per seed; NaN values are left out.

    Returns:
        The interval.

    >>> str(interval([84.0, 85.0, 86.0]))
    '85.0 ± 2.5'
    """
    counted = np.array([value for value in values if not math.isnan(value)], np.float64)
    seeds = len(counted)
    if not seeds:
        return Interval(math.nan, math.nan, 0)
    half_width = math.nan
    if seeds > 1:
        standard_error = float(counted.std(ddof=1)) / math.sqrt(seeds)
        half_width = float(special.stdtrit(seeds - 1, 0.975)) * standard_error
    return Interval(float(counted.mean()), half_width, seeds)


@dataclass(frozen=True)
class Figure:
    """One figure of one objective, beside those of the others.

    Attributes:
        over_seeds: the mean, and how it varies with the seed.
        over_queries: the same mean, and how it varies with the queries, for these trained models.
        rank: among the objectives measured on the same queries; None if this one was not.
        from_best: the difference from the best of them; None for the best itself, and for an
            objective that was not measured on the same queries.
        p_corrected: p-value of that difference over queries and seeds, corrected for all pairs
            among which the best was found (`holm`); NaN where there is none.
    """

    over_seeds: Interval
    over_queries: BootstrapInterval
    rank: Rank | None
    from_best: PairedDifference | None
    p_corrected: float

    @property
    def may_be_best(self) -> bool:
        """Whether it is not the best, but not significantly different from it."""
        return self.from_best is not None and self.p_corrected > LEVEL

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`, those over seeds first; NaN becomes None."""
        record = to_plain(self)
        return record.pop("over_seeds") | record


@dataclass(frozen=True)
class Comparison:
    """All figures of all objectives.

    Attributes:
        figures: objective -> figure -> what is known of it.
        best: figure -> the objective with the largest mean, where several can be compared.
    """

    figures: Mapping[str, Mapping[str, Figure]]
    best: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        figures = {
            objective: {name: figure.to_json() for name, figure in row.items()}
            for objective, row in self.figures.items()
        }
        return {"figures": figures, "best": dict(self.best)}


def compare(
    results: Mapping[str, Sequence[Hits]],
    *,
    groups: Shaped[np.ndarray, " examples"] | None = None,
    resamples: int = 10_000,
    say: Say = lambda text: None,
) -> Comparison:
    """Compares objectives by every figure.

    Each figure is larger for a better objective. The unit of resampling is an example with all its
    tasks, or a group, if there are groups. `gramalign.evaluation.significance` says what is
    resampled.

    Args:
        results: objective -> hits of each seed, the same seeds in the same order for all. An
            objective with one result where others have several has no seed, such as a baseline.
        groups: of the examples; those of one group are drawn together.
        resamples: of each bootstrap of a figure or a difference, and of each permutation test that
            is not exact.
        say: called with what is tested next.

    Returns:
        The comparison, with figures in the order in which they first appear. Where objectives were
        measured on different queries, only those on the most common queries are tested and ranked.

    Raises:
        ValueError: no objective, one without a result, or differing numbers of seeds.
        TypeError: a result that is not hits by figure, each of two dimensions.
    """
    if not results:
        raise ValueError(
            "results: got no objective, expected at least one; evaluate one before comparing"
        )
    for objective, of_seeds in results.items():
        listed = isinstance(of_seeds, Sequence)
        wrong = [x for x in of_seeds if not isinstance(x, Mapping)] if listed else [of_seeds]
        if not wrong:
            values = [x for hits in of_seeds for x in hits.values()]
            wrong = [x for x in values if getattr(x, "ndim", 0) != 2]
        if wrong:
            raise TypeError(
                f"results[{objective!r}]: got {type(wrong[0]).__name__}, expected a list of each "
                "seed's hits by figure, of tasks and examples, such as "
                "[evaluation.summary_hits(own=True)]"
            )
        if not of_seeds:
            raise ValueError(
                f"results[{objective!r}]: got no result; run it with at least one seed, or leave "
                "it out"
            )
    seeds = {len(of_seeds) for of_seeds in results.values()} - {1}
    if len(seeds) > 1:
        raise ValueError(
            f"results: got objectives with {sorted(seeds)} seeds, expected the same seeds for all; "
            "run those that are missing"
        )
    names = dict.fromkeys(
        name for of_seeds in results.values() for hits in of_seeds for name in hits
    )
    by_figure = {}
    for number, name in enumerate(names, 1):
        say(f"testing differences: {name}, {number} of {len(names)}")
        by_figure[name] = _compared(name, results, groups, resamples)
    return Comparison(
        figures={
            objective: {name: by_figure[name][0][objective] for name in names}
            for objective in results
        },
        best={name: best for name, (_, best) in by_figure.items() if best is not None},
    )


def _compared(
    name: str,
    results: Mapping[str, Sequence[Hits]],
    groups: np.ndarray | None,
    resamples: int,
) -> tuple[dict[str, Figure], str | None]:
    """One figure of all objectives, and the best of those that can be compared."""
    for objective, of_seeds in results.items():
        shapes = {each[name].shape for each in of_seeds if name in each}
        if len(shapes) > 1:
            raise ValueError(
                f"results[{objective!r}]: {name} has different shapes under different seeds, "
                f"{sorted(shapes)}; evaluate all on the same rows"
            )
    hits = {
        objective: np.stack([each[name] for each in of_seeds])
        for objective, of_seeds in results.items()
        if all(name in each for each in of_seeds)
    }
    asked = {objective: ~np.isnan(values) for objective, values in hits.items()}
    asked = {objective: found for objective, found in asked.items() if found.any()}
    values = {objective: unit_values(hits[objective], groups) for objective in asked}
    queries = {
        objective: (found[0].tobytes(), *found.shape[1:]) for objective, found in asked.items()
    }
    usual = Counter(queries.values()).most_common(1)  # of several, the first
    alike = [objective for objective in values if queries[objective] == usual[0][0]]
    means = {objective: float(values[objective].mean()) for objective in alike}
    ranks = ranking({objective: values[objective] for objective in alike}) if alike else {}
    best = max(means, key=means.__getitem__) if len(alike) > 1 else None
    shares = {objective: unit_shares(hits[objective], groups) for objective in alike}
    differences = {
        objective: paired_difference(shares[objective], shares[best], resamples=resamples)
        for objective in alike
        if best is not None and objective != best
    }
    p_values = np.array([x.over_both.p_value for x in differences.values()], np.float64)
    corrected = dict(
        zip(differences, holm(p_values, family=len(alike) * (len(alike) - 1) // 2), strict=True)
    )
    figures = {}
    for objective in results:
        seeds, over_queries = [], BootstrapInterval(math.nan, math.nan, math.nan)
        if objective in values:
            seeds = list(values[objective].mean(1))
            over_queries = bootstrap_interval(values[objective].mean(0), resamples=resamples)
        figures[objective] = Figure(
            over_seeds=interval(seeds),
            over_queries=over_queries,
            rank=ranks.get(objective),
            from_best=differences.get(objective),
            p_corrected=float(corrected.get(objective, math.nan)),
        )
    return figures, best

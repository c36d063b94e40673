"""Which method comes first, second, third, and how certain that order is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gramalign.evaluation.bootstrap import drawn_weights
from gramalign.evaluation.records import Record

_RESAMPLES = 2000


@dataclass(frozen=True)
class Rank(Record):
    """The rank of a method among others.

    Attributes:
        rank: 1 is best; equal means share the better rank.
        low: best rank in the 95 % interval.
        high: worst rank in it.
    """

    rank: int
    low: int
    high: int

    def __str__(self) -> str:
        """E.g. `2 (1-3)`, without the interval where it holds a single rank."""
        return f"{self.rank}" if self.low == self.high else f"{self.rank} ({self.low}-{self.high})"


def ranking(
    values: Mapping[str, Float[np.ndarray, "_seeds units"]],
) -> dict[str, Rank]:
    """Ranks methods by their means, with bootstrap intervals.

    Both seeds and units are drawn with replacement, the same for all methods: the ranks of a
    resample are those of one experiment that might have been. A rank belongs to the interval unless
    more than 2.5 % of the resamples lie beyond it on its side.

    Args:
        values: method -> value of each unit under each seed (`unit_values`); the same units for
            all, and the same seeds, or one row for a method without seeds. Larger is better.

    Returns:
        Method -> its rank, in the order given.

    Raises:
        ValueError: no method, units or seeds that differ between methods, or a NaN.

    >>> ranking({"a": np.array([[1.0, 1.0]]), "b": np.array([[0.0, 0.5]])})
    {'a': Rank(rank=1, low=1, high=1), 'b': Rank(rank=2, low=2, high=2)}
    """
    arrays = {name: np.asarray(array, np.float64) for name, array in values.items()}
    seeds = max((len(array) for array in arrays.values()), default=0)
    shapes = {name: array.shape for name, array in arrays.items()}
    alike = {units for _, units in shapes.values()}, {n for n, _ in shapes.values()} - {1, seeds}
    if not arrays or len(alike[0]) > 1 or alike[1] or not seeds or 0 in alike[0]:
        raise ValueError(
            f"values: got seeds and units {shapes}, expected the same queries under the same seeds "
            "for every method, or one row for a method without seeds"
        )
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"values[{name!r}]: got NaN or infinity, expected finite numbers")
    units = alike[0].pop()
    stacked = np.stack([np.broadcast_to(array, (seeds, units)) for array in arrays.values()])
    rng = np.random.default_rng(0)
    columns = stacked.transpose(2, 0, 1).reshape(units, -1)  # [units, methods * seeds]
    means = []
    for weights in drawn_weights(np.ones(units, int), _RESAMPLES, rng):
        of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights))
        by_seed = (weights @ columns).reshape(len(weights), len(arrays), seeds)
        means.append(np.einsum("rms,rs->rm", by_seed, of_seeds) / (units * seeds))
    drawn = _ranks(np.concatenate(means))
    low = np.quantile(drawn, 0.025, axis=0, method="lower")
    high = np.quantile(drawn, 0.975, axis=0, method="higher")
    found = _ranks(stacked.mean((1, 2)))
    return {
        name: Rank(int(found[i]), min(int(low[i]), int(found[i])), max(int(high[i]), int(found[i])))
        for i, name in enumerate(arrays)
    }


def _ranks(means: np.ndarray) -> np.ndarray:
    """1 for the largest on the last axis; rounded, so that equal values compare as equal."""
    from scipy import stats  # takes a second to import

    scale = np.abs(means).max(initial=np.finfo(float).tiny)
    return stats.rankdata(-np.round(means / scale, 12), method="min", axis=-1)

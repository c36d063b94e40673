"""Whether a figure of the space predicts retrieval quality, over the checkpoints of a run.

GRAM's paper plots one minus the GRAM value against retrieval over a run, and claims that the one
predicts the other. This module asks the same of any two figures measured at the same steps, by
Spearman's rank correlation, which does not assume a linear relation.

There is no p-value: checkpoints of one run follow from each other; they are no independent sample.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gramalign.evaluation.records import Record


@dataclass(frozen=True)
class Correlation(Record):
    """How two figures correlate.

    Attributes:
        predictor: a figure's name.
        outcome: another's.
        spearman: rank correlation, -1 to 1; NaN for fewer than three checkpoints, or if one of the
            figures does not change.
        checkpoints: number of checkpoints at which both were measured.
    """

    predictor: str
    outcome: str
    spearman: float
    checkpoints: int


def correlation_over_checkpoints(
    rows: Sequence[Mapping[str, float | int]], predictors: Sequence[str], outcomes: Sequence[str]
) -> tuple[Correlation, ...]:
    """Rank correlation of every predictor with every outcome.

    Args:
        rows: a mapping from names to measured values for each step, such as the lines of a run's
            log; rows that lack a figure, or have NaN for it, do not count.
        predictors: names of figures, such as `validation/GRAM value`.
        outcomes: names of figures, such as `validation/rest -> one R@1, own`.

    Returns:
        A correlation for each predictor and outcome.

    Raises:
        ValueError: a name that no row has.

    >>> figures = [(0.9, 10.0), (0.5, 30.0), (0.4, 31.0)]
    >>> rows = [{"volume": volume, "R@1": recall} for volume, recall in figures]
    >>> round(correlation_over_checkpoints(rows, ["volume"], ["R@1"])[0].spearman, 6)
    -1.0
    """
    known = dict.fromkeys(name for row in rows for name in row)
    for name in (*predictors, *outcomes):
        if name not in known:
            raise ValueError(f"no row has {name!r}, expected one of: {'; '.join(known) or 'none'}")
    return tuple(_of_two(rows, *names) for names in itertools.product(predictors, outcomes))


def _of_two(rows: Sequence[Mapping[str, float | int]], predictor: str, outcome: str) -> Correlation:
    from scipy import stats  # takes a second to import

    values = np.array(
        [[row[predictor], row[outcome]] for row in rows if predictor in row and outcome in row],
        np.float64,
    ).reshape(-1, 2)
    x, y = values[np.isfinite(values).all(axis=1)].T
    spearman = math.nan
    if len(x) > 2 and np.ptp(x) and np.ptp(y):
        spearman = float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    return Correlation(predictor, outcome, spearman, len(x))

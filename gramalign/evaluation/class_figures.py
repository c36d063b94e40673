"""Figures of a classifier: accuracies, macro-F1, their intervals, and what guessing would reach.

The rules. A test row counts if the classified modality is present; for a tuple, if at least one of
its modalities is. All classes that the classifier knows compete for it, and its rank is 1 + the
number of other classes that score at least as high as its own: ties count against the row, so a
collapsed space has 0 percent and not the share of the class that happens to come first. The
prediction is the row's own class if that ranks first, otherwise the best of the others. A row whose
class the classifier does not know counts as wrong.

Accuracy at k is the share of rows with rank k or less, for k below the number of classes. Macro-F1
is the mean F1 over the classes that occur as truth or prediction.

Chance is a random order of the known classes; it too gets rows of unknown classes wrong.

Intervals are for 95 %. Accuracies have Wilson's ("Probable inference, the law of succession, and
statistical inference", JASA 22, 1927); with groups, the bootstrap's over groups
(`gramalign.evaluation.bootstrap`), or Wilson's for the number of groups if all rows are right or
all are wrong. Macro-F1 has the bootstrap's centred interval: resamples miss classes of few rows,
which puts them below the figure, as the figure itself is below its value on all possible rows. For
classes with few rows or none this is not enough, and the interval covers the truth less often. If
all rows are right, or all wrong, macro-F1 is accuracy, and has its interval.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from gramalign.evaluation.bootstrap import bootstrap_interval
from gramalign.evaluation.labelled import Label, Labelled
from gramalign.evaluation.means import mean
from gramalign.evaluation.records import Record

ACCURACY_AT = (1, 5, 10)

ClassScores = Callable[[slice], Float[np.ndarray, "rows classes"]]
"""Scores of some test rows for every class, larger is likelier."""

_BLOCK = 2**22  # scores processed at a time
_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure in percent and its 95 % interval.

    All are NaN if no row counts, the interval also where several rows are all of one group.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassFigures(Record):
    """How well one classifier does on the test rows.

    Attributes:
        classifier: "prompts", "probe" or "neighbours".
        modalities: what is classified; several mean the tuple of them.
        score: for prompts, the Score that ranks classes for a tuple; "" for other classifiers.
        prompts: modality of the prompts; "" for other classifiers.
        rows: number of test rows that count.
        classes: number of classes to choose from.
        unknown: classes of test rows that the classifier does not know; their rows count as wrong.
        accuracy: k -> percent of rows whose class is among the first k.
        macro_f1: mean F1 over classes, in percent.
        chance: k -> accuracy of a random order, in percent; NaN where no row counts.
        majority: accuracy of always predicting the most frequent training class, in percent; NaN
            where that is not known.
        settings: the classifier's settings, by name.
        ranks: for each test row, the rank of its own class, 0 where the row does not count; and
        predicted: its predicted label, meaningless where the row does not count. Neither is part of
            the record, so both are None in figures that were read from one.
    """

    classifier: str
    modalities: tuple[str, ...]
    score: str
    prompts: str
    rows: int
    classes: int
    unknown: tuple[Label, ...]
    accuracy: Mapping[int, Estimate]
    macro_f1: Estimate
    chance: Mapping[int, float]
    majority: float
    settings: Mapping[str, float | int]
    ranks: Integer[np.ndarray, " examples"] | None = field(
        default=None, repr=False, compare=False, metadata={"record": False}
    )
    predicted: Shaped[np.ndarray, " examples"] | None = field(
        default=None, repr=False, compare=False, metadata={"record": False}
    )

    @property
    def name(self) -> str:
        """E.g. `text prompts -> audio+video, volume`, or `probe, text`."""
        of = "+".join(self.modalities)
        if self.classifier == "prompts":
            return f"{self.prompts} prompts -> {of}, {self.score}"
        return f"{self.classifier}, {of}"


def class_figures(
    scores: ClassScores | None,
    classes: Shaped[np.ndarray, " classes"],
    test: Labelled,
    counted: Bool[np.ndarray, " examples"],
    *,
    classifier: str,
    modalities: tuple[str, ...],
    majority: Label | None,
    settings: Mapping[str, float | int],
    score: str = "",
    prompts: str = "",
) -> ClassFigures:
    """Figures of class scores, which are computed block by block and never all held.

    Args:
        scores: gives the scores of a slice of the test rows, counted or not; None if there are no
            classes to choose from, and then no row counts.
        classes: labels of the columns, sorted.
        test: the test rows.
        counted: which test rows have what is classified. Those given with nothing but zeros, which
            have no direction, count as well, as wrong.
        classifier: this and the following go into the record; `majority` is a label.
        modalities: see `ClassFigures`.
        majority: the most frequent training class, or None.
        settings: see `ClassFigures`.
        score: see `ClassFigures`.
        prompts: see `ClassFigures`.

    Returns:
        The figures.
    """
    missed = test.data.asked(modalities) & ~test.there(modalities)
    counted = np.zeros_like(counted) if scores is None else counted | missed
    truth = np.searchsorted(classes, test.labels)
    known = np.isin(test.labels, classes)
    truth = np.where(known, truth, -1)
    ranks = np.zeros(len(test), np.int64)
    best = np.zeros(len(test), np.int64)
    if scores is not None:
        for rows in _slices(len(test), len(classes)):
            found = np.where(missed[rows, None], np.nan, scores(rows))
            ranks[rows], best[rows] = placed(found, truth[rows])
    ranks = np.where(counted, ranks, 0)
    predicted = classes[best] if len(classes) else test.labels
    some = np.flatnonzero(counted)
    clusters = test.data.clusters[some]
    at = [k for k in ACCURACY_AT if k < max(len(classes), 2)]
    return ClassFigures(
        classifier=classifier,
        modalities=modalities,
        score=score,
        prompts=prompts,
        rows=len(some),
        classes=len(classes),
        unknown=tuple(np.unique(test.labels[counted & ~known]).tolist()),
        accuracy={k: _rate(ranks[some] <= k, clusters) for k in at},
        macro_f1=_macro_f1(test.labels[some], predicted[some], clusters),
        chance={k: 100 * mean(known[some]) * min(k / max(len(classes), 1), 1) for k in at},
        majority=100 * mean(test.labels[some] == majority) if majority is not None else math.nan,
        settings=settings,
        ranks=ranks,
        predicted=predicted,
    )


def placed(
    scores: Float[np.ndarray, "rows classes"], truth: Integer[np.ndarray, " rows"]
) -> tuple[Integer[np.ndarray, " rows"], Integer[np.ndarray, " rows"]]:
    """Rank of each row's own class, 1 is best, and the predicted class.

    Args:
        scores: of every class; NaN, for whichever class, counts against the row.
        truth: column of each row's own class; -1 if it has none, for a rank behind all classes.

    Returns:
        Ranks and predicted columns.

    >>> import numpy as np
    >>> placed(np.array([[0.1, 0.9, 0.9], [0.3, 0.2, 0.1]]), np.array([1, 0]))
    (array([2, 1]), array([2, 0]))
    """
    rows, number_of_classes = scores.shape
    each = np.arange(rows)
    own = scores[each, truth]
    # `~(a < b)` and not `>=`, so that NaN counts; the own class counts too, so the best rank is 1.
    ranks = np.maximum(np.sum(~(scores < own[:, None]), axis=1), 1)
    ranks = np.where(truth < 0, number_of_classes + 1, ranks)
    others = np.array(scores)
    others[each[truth >= 0], truth[truth >= 0]] = -np.inf
    return ranks, np.where(ranks == 1, truth, np.argmax(others, axis=1))


def _rate(hits: np.ndarray, clusters: np.ndarray) -> Estimate:
    if not len(hits):
        return Estimate(math.nan, math.nan, math.nan)
    units = len(np.unique(clusters))
    if units == len(hits) or (units > 1 and np.all(hits == hits[0])):
        from scipy import stats  # takes a second to import

        right = int(hits.sum()) * units // len(hits)
        found = stats.binomtest(right, units).proportion_ci(method="wilson")
        low, high = 100 * float(found.low), 100 * float(found.high)
    else:
        found = bootstrap_interval(100.0 * hits, groups=clusters, resamples=_RESAMPLES)
        low, high = found.low, found.high
    return Estimate(100 * mean(hits), low, high)


def _macro_f1(true: np.ndarray, predicted: np.ndarray, clusters: np.ndarray) -> Estimate:
    right = true == predicted
    if not right.any() or right.all():  # all resamples are equal, and macro-F1 is accuracy
        return _rate(right, clusters)
    both = np.unique(np.concatenate([true, predicted]), return_inverse=True)[1]
    true, predicted = both[: len(true)], both[len(true) :]
    size = int(both.max()) + 1
    hits = np.where(right, true, size)

    def statistic(rows: np.ndarray) -> float:
        # How many true, predicted and right rows each class has.
        drawn = rows.astype(np.int64)
        counts = [np.bincount(of[drawn], minlength=size)[:size] for of in (true, predicted, hits)]
        occurs = counts[0] + counts[1]
        return 100 * float(np.mean(2 * counts[2][occurs > 0] / occurs[occurs > 0]))

    # BCa would need the figure without each row in turn.
    found = bootstrap_interval(
        np.arange(len(true), dtype=np.float64),
        groups=clusters,
        statistic=statistic,
        method="centred",
        resamples=_RESAMPLES,
    )
    return Estimate(found.estimate, max(found.low, 0.0), min(found.high, 100.0))


def _slices(rows: int, classes: int) -> list[slice]:
    """Slices of one length, so that scores compile once; the last two may overlap."""
    size = min(rows, max(1, _BLOCK // classes))
    starts = [*range(0, rows - size, size), rows - size]
    return [slice(start, start + size) for start in starts]

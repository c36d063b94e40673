"""How retrieval degrades as modalities go missing, features get noisy, embeddings lose precision.

    missing       each modality of each row is lost at some rate; a row keeps at least one
    noise         Gaussian noise on the features of all modalities, then of each one alone, in units
                  of each feature's standard deviation; they are embedded again
    dimensions    a random share of the embeddings' coordinates is zeroed, the same in all of them
    precision     embeddings are stored in less than float32, and read back

Each point gives R@1 (in percent) and MRR, means over all ordered pairs, over one -> rest and over
rest -> one, under the cosine and the run's Score, with chance R@1 beside them: when fewer rows have
a modality, galleries shrink, and retrieval gets easier. `gramalign.evaluation.retrieval` defines
queries and candidates.

Random damage is repeated: a point is then the mean over several repetitions, with their range. One
repetition uses the same random draws at every level of a curve, so that differences along the curve
are not differences between draws. All points of all curves share one compilation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gramalign.evaluation.inputs import EmbeddingSet, HostEmbeddings, HostPresent, checked
from gramalign.evaluation.means import mean
from gramalign.evaluation.perturbations import (
    PRECISIONS,
    add_noise,
    drop_dimensions,
    lose_modalities,
    store_as,
)
from gramalign.evaluation.records import Record
from gramalign.evaluation.retrieval import (
    Retrieval,
    check_score,
    retrieval_figures,
    with_cosine,
)
from gramalign.scores import ScoreLike, name_of

LEVELS: dict[str, dict[str, float]] = {
    "missing": {f"{x} %": x / 100 for x in (0, 10, 20, 30, 50, 70, 90)},
    "noise": {f"{x:g}": x for x in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)},
    "dimensions": {f"{x} %": x / 100 for x in (0, 10, 25, 50, 75, 90)},
    "precision": {name: float(bits) for name, (bits, _) in PRECISIONS.items()},
}
"""Curve -> its levels by their labels, from no damage to the most."""

CURVES = tuple(LEVELS)

TASKS = ("pair", "one -> rest", "rest -> one")

Embed = Callable[[HostEmbeddings, HostPresent], HostEmbeddings]


@dataclass(frozen=True)
class Range:
    """Mean, least and largest over repetitions; NaN where no repetition has the figure."""

    mean: float
    least: float
    largest: float


@dataclass(frozen=True)
class Point:
    """Figures at one level of damage.

    Attributes:
        level: rate, units of noise, share of dimensions, or bits per number.
        label: the level for people.
        missing: share of all rows' modalities that are missing, including those that the data lack.
        figures: by names such as `one -> rest R@1, cosine` and `pair chance R@1`.
    """

    level: float
    label: str
    missing: float
    figures: Mapping[str, Range]


@dataclass(frozen=True)
class Curve:
    """Figures at each level of one kind of damage.

    Attributes:
        kind: one of `CURVES`.
        modalities: the damaged ones.
        points: from no damage to the most.
    """

    kind: str
    modalities: tuple[str, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Robustness(Record):
    """Curves of one set of embeddings.

    Attributes:
        score: the Score measured beside the cosine.
        modalities: of the embeddings.
        examples: number of rows.
        repeats: number of repetitions of random damage.
        seed: of the first repetition.
        curves: in the order asked for; for noise, on all modalities and then on each alone.
    """

    score: str
    modalities: tuple[str, ...]
    examples: int
    repeats: int
    seed: int
    curves: tuple[Curve, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The distinct tasks: with two modalities, all are pairs."""
        return TASKS[:1] if len(self.modalities) == 2 else TASKS


def robustness(
    data: EmbeddingSet,
    score: ScoreLike,
    *,
    curves: Sequence[str] = ("missing", "dimensions", "precision"),
    repeats: int = 3,
    seed: int = 0,
    features: HostEmbeddings | None = None,
    embed: Embed | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Measure retrieval under growing damage.

    Args:
        data: checked embeddings.
        score: one of `SCORE_NAMES`, or a class of Scores, measured beside the cosine.
        curves: which of `CURVES` to measure.
        repeats: number of repetitions of random damage, at least 1.
        seed: repetition i draws from seed + i.
        features: `[examples, width]` per modality of the embeddings, for the curve `noise`.
        embed: `embed(features, present)` gives embeddings of all modalities, for `noise`.
        report: called with the numbers of measurements done and in all.

    Returns:
        The curves.

    Raises:
        ValueError: an unknown score or curve, no curve, one asked for twice, no repetition, a
            negative seed, or noise without features of the same rows and a function to embed them.
    """
    _check(data, score, curves, repeats, seed, features, embed)
    everyone = data.modalities
    planned = []
    for kind in curves:
        planned.append((kind, everyone))
        if kind == "noise":
            planned += [(kind, (name,)) for name in everyone]
    draws = {kind: 1 if kind == "precision" else repeats for kind in curves}
    total, done = sum(draws[kind] * len(LEVELS[kind]) for kind, _ in planned), 0
    found = []
    for kind, names in planned:
        points = []
        for label, level in LEVELS[kind].items():
            measured, missing = [], []
            for repeat in range(draws[kind]):
                rng = np.random.default_rng(seed + repeat)
                damaged = _damaged(data, kind, names, label, rng, features, embed)
                measured.append(_figures(damaged, score))
                missing.append(1 - np.mean(list(damaged.given.values())))
                done += 1
                if report:
                    report(done, total)
            figures = {name: _range([each[name] for each in measured]) for name in measured[0]}
            points.append(Point(level, label, float(np.mean(missing)), figures))
        found.append(Curve(kind, names, tuple(points)))
    return Robustness(name_of(score), data.modalities, len(data), repeats, seed, tuple(found))


def _damaged(
    data: EmbeddingSet,
    kind: str,
    names: tuple[str, ...],
    label: str,
    rng: np.random.Generator,
    features: HostEmbeddings | None,
    embed: Embed | None,
) -> EmbeddingSet:
    """One draw of one kind of damage at one level; of noise, to these modalities."""
    level = LEVELS[kind][label]
    if kind == "missing":
        return checked(data.embeddings, lose_modalities(data.given, level, rng), data.groups)
    if kind == "dimensions":
        return drop_dimensions(data, level, rng)
    if kind == "precision":
        return store_as(data, label)
    assert features is not None and embed is not None
    known = {name: np.asarray(features[name]) for name in data.modalities}
    made = embed(add_noise(known, data.present, names, level, rng), data.given)
    return checked({name: made[name] for name in data.modalities}, data.given, data.groups)


def _figures(data: EmbeddingSet, score: ScoreLike) -> dict[str, float]:
    figures = {}
    for each in reversed(with_cosine(score)):
        results, name = retrieval_figures(data, each), name_of(each)
        for task in TASKS:
            chosen = [result for result in results if _is(task, result, len(data.modalities))]
            figures[f"{task} R@1, {name}"] = mean([result.recall[1] for result in chosen])
            ranks = [result.mean_reciprocal_rank for result in chosen]
            figures[f"{task} MRR, {name}"] = mean(ranks)
            if name == "cosine":
                figures[f"{task} chance R@1"] = mean([result.chance[1] for result in chosen])
    return figures


def _is(task: str, result: Retrieval, modalities: int) -> bool:
    """Whether a result belongs to a task; with two modalities, it belongs to all."""
    query, gallery = len(result.query), len(result.gallery)
    sizes = {"pair": (1, 1), "one -> rest": (1, modalities - 1), "rest -> one": (modalities - 1, 1)}
    return (query, gallery) == sizes[task]


def _range(values: list[float]) -> Range:
    counted = [value for value in values if not math.isnan(value)]
    if not counted:
        return Range(math.nan, math.nan, math.nan)
    return Range(mean(counted), min(counted), max(counted))


def check_repeats(repeats: int, seed: int) -> None:
    """Raises `ValueError` for no repetition, or a negative seed."""
    for name, value, least in (("repeats", repeats, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name}: got {value}, expected at least {least}")


def _check(
    data: EmbeddingSet,
    score: ScoreLike,
    curves: Sequence[str],
    repeats: int,
    seed: int,
    features: HostEmbeddings | None,
    embed: Embed | None,
) -> None:
    check_score(score)
    if not curves or len(set(curves)) < len(curves) or not set(curves) <= set(CURVES):
        raise ValueError(
            f"curves: got {', '.join(curves) or 'none'}, expected some of {', '.join(CURVES)}, "
            "each once"
        )
    check_repeats(repeats, seed)
    if "noise" not in curves:
        return
    if features is None or embed is None:
        raise ValueError(
            "curves: noise is added to features, which are then embedded again: give `features` "
            "and `embed`, or leave it out"
        )
    for name in data.modalities:
        if name not in features or np.shape(features[name])[:1] != (len(data),):
            got = "none" if name not in features else f"shape {np.shape(features[name])}"
            raise ValueError(
                f"features[{name!r}]: got {got}, expected [{len(data)}, width]: the features that "
                "the embeddings were made from, row by row"
            )

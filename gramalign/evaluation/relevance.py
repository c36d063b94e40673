"""Retrieval with several right answers: all captions of a video, all members of a class.

Every valid query ranks the whole gallery; items with its label are right. The gallery is sorted by
the Score, and ties count against the query: among equal scores wrong items come first, so a
collapsed space finds nothing. With ties broken that way the figures are the usual ones, those of
scikit-learn, torchmetrics and ranx:

    R@k      share of queries with any right answer among the first k
    MRR      mean of 1 / place of the first right answer
    mAP      mean over queries of 1 / R sum_r r / place of the r-th of R right answers
    nDCG@k   sum_{right, place <= k} 1 / log2(1 + place), over the same of an ideal order

The score matrix is never stored: as many rows at a time as `BUDGET` allows are computed on the
device and sorted on the host.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Integer, Shaped

from gramalign.contrast import score_matrix
from gramalign.evaluation.devices import devices_for
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.means import mean
from gramalign.evaluation.numbering import numbered
from gramalign.evaluation.records import Record
from gramalign.evaluation.retrieval import RECALL_AT, anonymous, check_sides, tasks
from gramalign.mesh import on_own_mesh
from gramalign.scores import Between, ScoreLike, Side, name_of
from gramalign.types import Say

NDCG_AT = 10
BUDGET = 2**24
"""Scores that are held at a time: 64 MiB."""

_INF = np.float32(np.inf)
_AT_ONCE = 2**16
"""Scores that one thread sorts at a time: with its copies of them, what a core's cache holds."""


@dataclass(frozen=True)
class Relevance(Record):
    """Figures of one kind of query, where all items with its label are right; NaN without a query.

    Attributes:
        query: modalities on the query side; several mean the tuple of them.
        gallery: modalities on the gallery side.
        score: name of the Score that ranked the gallery.
        queries: number of queries; those for which nothing in the gallery is right do not count.
        candidates: size of the gallery.
        right: mean number of right answers per query.
        recall: k -> percent of queries with any right answer among the first k.
        mean_reciprocal_rank: of the first right answer, 1 is best.
        mean_average_precision: 1 is best.
        chance_average_precision: the same, expected for a random order.
        ndcg: at `NDCG_AT`, 1 is best.
    """

    query: tuple[str, ...]
    gallery: tuple[str, ...]
    score: str
    queries: int
    candidates: int
    right: float
    recall: Mapping[int, float]
    mean_reciprocal_rank: float
    mean_average_precision: float
    chance_average_precision: float
    ndcg: float


def relevance_figures(
    data: EmbeddingSet,
    labels: Shaped[np.ndarray, " examples"],
    score: ScoreLike,
    *,
    say: Say = lambda text: None,
) -> tuple[Relevance, ...]:
    """`retrieve_by_label` for the tasks of `retrieval_figures`."""
    return tuple(
        retrieve_by_label(data, labels, query, gallery, score)
        for one, others in tasks(data.modalities, f"retrieval by label, {name_of(score)}", say)
        for query, gallery in [(one, others), (others, one)]
    )


def numbered_labels(
    labels: Shaped[np.ndarray | Array, " _examples"], examples: int
) -> Integer[np.ndarray, " examples"]:
    """Labels as numbers from 0, in sorted order.

    Raises:
        ValueError: as `numbered`, or one label for all of the examples.
    """
    numbers = numbered(labels, examples, "labels")
    if not numbers.any():
        raise ValueError(
            f"labels: all {examples} examples have the label {np.asarray(labels).tolist()[0]!r}, "
            "so no answer is wrong; expected at least two different labels"
        )
    return numbers


@on_own_mesh
def retrieve_by_label(
    data: EmbeddingSet,
    labels: Shaped[np.ndarray, " examples"],
    query: Sequence[str],
    gallery: Sequence[str],
    score: ScoreLike,
) -> Relevance:
    """Retrieval of all examples with the query's label.

    Args:
        data: checked embeddings; its groups are ignored.
        labels: `[examples]` of any type, e.g. classes, or the video a caption belongs to.
        query: modalities of the query.
        gallery: modalities of the gallery, none of them in the query; the query's own example is in
            the gallery, and right.
        score: one of `SCORE_NAMES`, or a class of Scores; for several modalities see
            `gramalign.scores.between`.

    Returns:
        The figures.

    Raises:
        ValueError: labels as in `numbered_labels`, an unknown score, or modalities that are unknown
            or on both sides.
    """
    numbers = numbered_labels(labels, len(data))
    query, gallery = check_sides(data, query, gallery)
    rows, cols = (
        np.flatnonzero(np.any([data.present[name] for name in side], axis=0))
        for side in (query, gallery)
    )
    # Only queries that have a right answer.
    right = np.bincount(numbers[cols], minlength=numbers.max() + 1)[numbers]
    rows = rows[right[rows] > 0]
    # What is right for a query lies side by side.
    cols = cols[np.argsort(numbers[cols], kind="stable")]
    bounds = np.searchsorted(numbers[cols], np.arange(numbers.max() + 2))

    def found_of(rows: np.ndarray, scores: np.ndarray) -> _Found:
        return _found(scores, bounds[numbers[rows]], bounds[numbers[rows] + 1])

    few = max(_AT_ONCE // max(len(cols), 1), 1)
    found = [_Found.nothing()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy sorts without Python's lock
        for part, scores in _scored(data, *anonymous(score, query, gallery), rows, cols):
            starts = range(0, len(part), few)
            pieces = ((part[i : i + few], scores[i : i + few]) for i in starts)
            found += pool.map(found_of, *zip(*pieces, strict=True))
    each = _Found(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return Relevance(
        query=query,
        gallery=gallery,
        score=name_of(score),
        queries=len(rows),
        candidates=len(cols),
        right=mean(right[rows]),
        recall={k: 100 * mean(each.first_place <= k) for k in RECALL_AT},
        mean_reciprocal_rank=mean(1 / each.first_place),
        mean_average_precision=mean(each.average_precision),
        chance_average_precision=mean(_chance(right[rows], len(cols))),
        ndcg=mean(each.ndcg),
    )


class _Found(NamedTuple):
    """Figures of every query."""

    first_place: Float[np.ndarray, " q"]
    average_precision: Float[np.ndarray, " q"]
    ndcg: Float[np.ndarray, " q"]

    @classmethod
    def nothing(cls) -> "_Found":
        return cls(*np.zeros((3, 0)))


def _scored(
    data: EmbeddingSet,
    between: Between,
    names: Mapping[str, str],
    rows: np.ndarray,
    cols: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some of the rows at a time, with their scores of all columns."""
    if not len(rows):
        return

    def taken(roles: Sequence[str], which: np.ndarray) -> tuple[dict, dict]:
        wanted = {role: name for name, role in names.items() if role in roles}
        return (
            {role: data.embeddings[name][which] for role, name in wanted.items()},
            {role: data.present[name][which] for role, name in wanted.items()},
        )

    gallery = _columns(between, *taken(between.gallery, cols))
    devices = devices_for(len(rows))
    number = min(max(BUDGET // len(cols), 1), len(rows))
    number = -(-number // len(devices)) * len(devices)
    mesh = Mesh(devices, ("queries",))
    gallery = jax.device_put(gallery, NamedSharding(mesh, PartitionSpec()))
    for start in range(0, len(rows), number):
        part = rows[start : start + number]
        # Padded, so that the last rows have no new shape.
        filled = taken(between.query, np.pad(part, (0, number - len(part)), mode="edge"))
        filled = jax.device_put(filled, NamedSharding(mesh, PartitionSpec("queries")))
        scores = _scores(between, *filled, gallery)
        yield part, np.asarray(scores)[: len(part)]


@partial(jax.jit, static_argnums=0)
def _columns(between: Between, embeddings: dict[str, Array], present: dict[str, Array]) -> Side:
    return between.cols(embeddings, present)


@partial(jax.jit, static_argnums=0)
def _scores(
    between: Between, embeddings: dict[str, Array], present: dict[str, Array], gallery: Side
) -> Float[Array, "q n"]:
    return score_matrix(between, between.rows(embeddings, present), gallery)


def _found(
    scores: Float[np.ndarray, "q n"],
    begins: Integer[np.ndarray, " q"],
    ends: Integer[np.ndarray, " q"],
) -> _Found:
    """Figures of queries whose right answers are the columns from a begin to an end."""
    scores = scores.astype(np.float32)  # a copy, which is sorted in place
    if np.isnan(scores.min()):
        places = np.arange(scores.shape[1])
        right = (begins[:, None] <= places) & (places < ends[:, None])
        scores = np.where(np.isnan(scores), np.where(right, -_INF, _INF), scores)
    of_right = [
        np.sort(row[begin:end]) for row, begin, end in zip(scores, begins, ends, strict=True)
    ]
    scores.sort(axis=1)
    gains = 1 / np.log2(np.arange(2, NDCG_AT + 2))
    ideal = np.cumsum(gains)
    found = _Found(*np.zeros((3, len(scores))))
    for number, (row, right) in enumerate(zip(scores, of_right, strict=True)):
        many = len(right)
        nth = np.arange(many, 0, -1)  # the best is the last
        # Wrong ones that score as much or more: of equal scores they come first.
        wrong = (len(row) - row.searchsorted(right)) - (many - right.searchsorted(right))
        places = wrong + nth
        best = places[-NDCG_AT:]
        found.first_place[number] = places[-1]
        found.average_precision[number] = (nth / places).mean()
        gained = gains[best[best <= NDCG_AT] - 1].sum()
        found.ndcg[number] = gained / ideal[min(many, NDCG_AT) - 1]
    return found


def _chance(right: Integer[np.ndarray, " q"], size: int) -> Float[np.ndarray, " q"]:
    """Expected average precision of a random order of `size` items, `right` of them right."""
    harmonic = (1 / np.arange(1, size + 1)).sum()
    return (harmonic + (right - 1) / max(size - 1, 1) * (size - harmonic)) / size

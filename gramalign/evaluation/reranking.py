"""Re-ranking: the best candidates by one Score, reordered by something better and slower.

The `top` best candidates of each query get new scores; the others keep their order behind them. So
only the order among the first `top` changes, and a match that is not among them keeps its rank. The
rules for candidates and ties are those of `gramalign.evaluation.retrieval`: a match that ties with
too many others is not among the first, and members of the query's group are not candidates and take
no place.

Published tables often hold re-ranked figures without saying so: GRAM's are those of a matching head
over the 50 best by volume (Cicchetti et al., ICLR 2025, arXiv 2412.11959, official evaluation).
Here re-ranked figures are computed from the raw ones and shown beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from gramalign.contrast import top_k
from gramalign.evaluation.devices import Batch, on_devices
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.retrieval import (
    Retrieval,
    anonymous,
    check_score,
    check_sides,
    figures_of,
    task_of,
)
from gramalign.scores import Between, Score, ScoreLike, name_of
from gramalign.types import Embeddings, Present

Rescore = Callable[[Int[np.ndarray, " q"], Int[np.ndarray, "q top"]], Float[np.ndarray, "q top"]]
"""Scores of some queries with candidates of their own, both given as numbers of examples."""


@dataclass(frozen=True)
class Judge:
    """A head that judges whole tuples (`gramalign.losses.matching`), as a re-ranker.

    Attributes:
        name: for the record.
        logits: from embeddings `[n, dim]` and masks `[n]` of the modalities that are compared to a
            logit for each tuple, larger for a better match.
    """

    name: str
    logits: Callable[[Embeddings, Present], Float[Array, " n"]]


By = str | type[Score] | Rescore | Judge

TOP = 50
CELLS = 2**26
"""Numbers of embeddings that are held at a time while candidates are scored: 256 MiB."""


def rerank(
    data: EmbeddingSet,
    raw: Retrieval,
    by: By,
    *,
    top: int = TOP,
    name: str | None = None,
    score: ScoreLike | None = None,
) -> Retrieval:
    """Retrieval once more, with the best candidates of every query re-ranked.

    Args:
        data: the embeddings that were searched.
        raw: their retrieval under one of `SCORE_NAMES` or `FUSED`, which chooses the candidates.
        by: one of `SCORE_NAMES`, a class of Scores, a `Judge`, or a function. That takes the row
            numbers of queries `[q]`, those whose match is among the first `top`, and of their
            candidates `[q, top]`, best first and -1 where there are no more, and returns scores
            `[q, top]`, larger for a better match.
        top: number of candidates per query.
        name: of a function, for the record.
        score: the Score of `raw`, if that is a class of your own.

    Returns:
        The re-ranked figures.

    Raises:
        ValueError: raw figures without ranks, of other embeddings, or under a dual softmax; an
            unknown `by`, a `top` below 2, or a function whose scores have another shape.

    >>> from gramalign.evaluation import checked, retrieve_both_ways
    >>> rng = np.random.default_rng(0)
    >>> audio = rng.normal(size=(20, 4))
    >>> data = checked({"text": audio + rng.normal(size=(20, 4)), "audio": audio})
    >>> raw, _ = retrieve_both_ways(data, ["text"], ["audio"], "cosine")
    >>> oracle = lambda queries, candidates: (queries[:, None] == candidates).astype(float)
    >>> better = rerank(data, raw, oracle, top=5, name="oracle")
    >>> better.recall[1] == raw.recall[5], better.recall[10] == raw.recall[10]
    (True, True)
    """
    query, gallery = check_sides(data, raw.query, raw.gallery)
    check_asked(by, top)
    check_score(score or raw.score, "score" if score else "raw", fused=True)
    if raw.ranks is None or len(raw.ranks) != len(data):
        raise ValueError(
            f"raw: got {'no' if raw.ranks is None else len(raw.ranks)} ranks, expected one for "
            f"each of {len(data)} examples; give what retrieve returns for these embeddings"
        )
    if isinstance(by, str | type):
        called, rescore = name_of(by), by_score(data, query, gallery, by)
    elif isinstance(by, Judge):
        names = {name: name for name in (*query, *gallery)}
        called, rescore = by.name, _of_pairs(data, query, gallery, names, by.logits)
    else:
        called, rescore = name or getattr(by, "__name__", "a function"), by
    task = task_of(data, query, gallery, score or raw.score)
    between, (_, present, _) = task
    in_query, in_gallery = (
        np.any([present[name] for name in side], axis=0)
        for side in (between.query, between.gallery)
    )
    found_at_all = (raw.ranks > 0) & in_query & in_gallery  # rows of zeros are not
    rows = np.flatnonzero(found_at_all & (raw.ranks <= top))
    ranks = raw.ranks.copy()
    if len(rows):
        candidates = _candidates(task, raw.ranks[rows], rows, min(top, len(data)))
        found = np.asarray(rescore(rows, candidates), np.float64)
        if found.shape != candidates.shape:
            raise ValueError(
                f"by: got scores of shape {found.shape}, expected those of the candidates, "
                f"{candidates.shape}"
            )
        own = candidates == rows[:, None]
        match = np.where(own, found, 0).sum(axis=1, keepdims=True)
        # `~(a < b)` and not `>=`: a NaN score counts against the query.
        ranks[rows] = 1 + ((candidates >= 0) & ~own & ~(found < match)).sum(axis=1)
    return figures_of(
        query,
        gallery,
        f"{raw.score}, top {top} re-ranked by {called}",
        ranks - 1,
        in_gallery,
        data.groups,
    )


def check_asked(by: By, top: int, *, argument: str = "") -> None:
    """Raises `ValueError` if nothing can be re-ranked like this; names begin with `argument`."""
    check_top(top, f"{argument}top")
    if isinstance(by, str | type) or not (callable(by) or isinstance(by, Judge)):
        check_score(by, f"{argument}by")


def check_top(top: int, argument: str) -> None:
    """Raises `ValueError` for a number of candidates that has no order."""
    if top < 2:
        raise ValueError(
            f"{argument}: got {top}, expected at least 2, since one candidate has no order"
        )


def by_score(
    data: EmbeddingSet, query: Sequence[str], gallery: Sequence[str], score: ScoreLike
) -> Rescore:
    """A Score as a re-ranker: each pair to full precision, as for matched tuples."""
    between, names = anonymous(score, query, gallery)
    return _of_pairs(data, query, gallery, names, partial(_matched, between))


def _of_pairs(
    data: EmbeddingSet,
    query: Sequence[str],
    gallery: Sequence[str],
    names: Mapping[str, str],
    scores_of: Callable[[Any, Any], Float[Array, " n"]],
) -> Rescore:
    """A re-ranker that is given the embeddings of some pairs at a time, by their new names."""

    def rescore(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        number, top = candidates.shape
        dim = data.embeddings[query[0]].shape[1]
        step = min(max(CELLS // (top * dim * len(names)), 1), number)
        found = np.zeros((number, top))
        for start in range(0, number, step):
            part = np.arange(start, min(start + step, number))
            # Padded, so that the last queries have no new shape; -1 stands for no candidate.
            filled = np.pad(part, (0, step - len(part)), mode="edge")
            sides = {name: np.repeat(queries[filled], top) for name in query}
            sides |= {name: np.maximum(candidates[filled], 0).ravel() for name in gallery}
            scores = scores_of(
                {names[name]: data.embeddings[name][rows] for name, rows in sides.items()},
                {names[name]: data.present[name][rows] for name, rows in sides.items()},
            )
            found[part] = np.asarray(scores).reshape(step, top)[: len(part)]
        return found

    return rescore


@partial(jax.jit, static_argnums=0)
def _matched(
    between: Between, embeddings: dict[str, Array], present: dict[str, Array]
) -> Float[Array, " n"]:
    return between.matched(embeddings, present)


def _candidates(
    task: tuple[Between, Batch],
    ranks: Int[np.ndarray, " q"],
    rows: Int[np.ndarray, " q"],
    top: int,
) -> Int[np.ndarray, "q top"]:
    """The first candidates, in order, of queries whose match is one of them."""
    between, batch = task
    embeddings, present, groups = batch
    examples = len(next(iter(present.values())))
    labels = np.arange(examples) if groups is None else groups
    (rivals,) = on_devices(_Rivals(between, top - 1), (embeddings, present, labels))
    places = ranks[:, None] - 1
    column = np.arange(top)
    filled = np.pad(rivals[rows], [(0, 0), (1, 1)], constant_values=-1)
    before, behind = filled[:, 1:], filled[:, :-1]
    return np.where(column < places, before, np.where(column > places, behind, rows[:, None]))


@dataclass(frozen=True)
class _Rivals:
    """Numbers of the best columns of every row, without its group: its match and others."""

    score: Between
    number: int

    def __call__(self, batch: Batch, axis_name: str | None) -> tuple[Int[Array, "n number"]]:
        embeddings, present, groups = batch
        rows, cols = (side(embeddings, present) for side in (self.score.rows, self.score.cols))
        both = groups, groups
        found = top_k(self.score, rows, cols, self.number, groups=both, axis_name=axis_name)
        return (found[1],)

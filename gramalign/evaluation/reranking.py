"""Re-ranking: the best by one Score, put in a new order by something better and dearer.

Of each query the `top` best of the gallery get new scores; what is behind them stays behind them,
in the old order. So a match that the first Score has left out keeps its rank, and only the order
among the first `top` changes. The rules for candidates and ties are those of
`gramalign.evaluation.retrieval`.

Published tables often hold re-ranked figures without saying so: GRAM's are those of a matching head
over the 50 best by volume (Cicchetti et al., ICLR 2025, arXiv 2412.11959, official evaluation).
Here they are made of the raw ones, beside which they stand.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.retrieval import Retrieval, anonymous, check_sides, figures_of
from gramalign.scores import SCORE_NAMES, Between
from gramalign.search import Index

Rescore = Callable[[Int[np.ndarray, " q"], Int[np.ndarray, "q top"]], Float[np.ndarray, "q top"]]
"""Scores of some queries with candidates of their own, both given as numbers of examples."""

TOP = 50
CELLS = 2**26
"""Numbers of embeddings that are held at a time while candidates are scored: 256 MiB."""


def rerank(
    data: EmbeddingSet,
    raw: Retrieval,
    by: str | Rescore,
    *,
    top: int = TOP,
    name: str | None = None,
) -> Retrieval:
    """Retrieval once more, with the best of every query re-ranked.

    Args:
        data: the embeddings that were searched.
        raw: what was found in them under one of `SCORE_NAMES`, which chooses the candidates.
        by: another of these, or a function of the numbers of queries `[q]` and of their candidates
            `[q, top]`, to scores `[q, top]`, larger for the better match: a matching head, say.
        top: candidates of each query.
        name: of a function, for the record.

    Returns:
        The re-ranked figures.

    Raises:
        ValueError: raw figures without ranks, of other embeddings, or under what is no Score by
            itself; an unknown `by`, a `top` below 2, or a function whose scores have another shape.

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
    if top < 2:
        raise ValueError(f"top: got {top}, wanted at least 2: one candidate has no order")
    for argument, of in (("raw", raw.score), ("by", by)):
        if isinstance(of, str) and of not in SCORE_NAMES:
            raise ValueError(f"{argument}: got {of!r}, wanted one of {', '.join(SCORE_NAMES)}")
    if raw.ranks is None or len(raw.ranks) != len(data):
        raise ValueError(
            f"raw: wanted the rank of each of {len(data)} examples, got "
            f"{'none' if raw.ranks is None else len(raw.ranks)}; retrieve from these"
        )
    called = by if isinstance(by, str) else name or getattr(by, "__name__", "a function")
    rescore = by_score(data, query, gallery, by) if isinstance(by, str) else by
    rows = np.flatnonzero(raw.ranks)
    ranks = raw.ranks.copy()
    if len(rows):
        candidates = _candidates(data, query, gallery, raw.score, rows, top)
        found = np.asarray(rescore(rows, candidates), np.float64)
        if found.shape != candidates.shape:
            raise ValueError(
                f"by: got scores of shape {found.shape}, wanted those of the candidates, "
                f"{candidates.shape}"
            )
        ranks[rows] = _places(rows, candidates, found, data.groups, raw.ranks[rows])
    in_gallery = np.any([data.present[name] for name in gallery], axis=0)
    return figures_of(
        query,
        gallery,
        f"{raw.score}, re-ranked by {called}",
        ranks - 1,
        in_gallery,
        data.groups,
    )


def by_score(
    data: EmbeddingSet, query: Sequence[str], gallery: Sequence[str], score: str
) -> Rescore:
    """A Score as something that re-ranks: of each pair to full precision, as for matched tuples."""
    between, names = anonymous(score, query, gallery)

    def rescore(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        number, top = candidates.shape
        dim = data.embeddings[query[0]].shape[1]
        step = min(max(CELLS // (top * dim * len(names)), 1), number)
        found = np.zeros((number, top))
        for start in range(0, number, step):
            part = np.arange(start, min(start + step, number))
            # Filled up, so that the last ones are no new shape; -1 stands for no candidate.
            filled = np.pad(part, (0, step - len(part)), mode="edge")
            sides = {name: np.repeat(queries[filled], top) for name in query}
            sides |= {name: np.maximum(candidates[filled], 0).ravel() for name in gallery}
            scores = _matched(
                between,
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
    data: EmbeddingSet,
    query: tuple[str, ...],
    gallery: tuple[str, ...],
    score: str,
    rows: np.ndarray,
    top: int,
) -> Int[np.ndarray, "q top"]:
    index = Index(
        {name: data.embeddings[name] for name in gallery},
        {name: data.present[name] for name in gallery},
    )
    hits = index.search(
        {name: data.embeddings[name][rows] for name in query},
        min(top, len(data)),
        score=score,
        present={name: data.present[name][rows] for name in query},
    )
    return np.asarray(hits.numbers)


def _places(
    rows: Int[np.ndarray, " q"],
    candidates: Int[np.ndarray, "q top"],
    scores: Float[np.ndarray, "q top"],
    groups: np.ndarray | None,
    before: Int[np.ndarray, " q"],
) -> Int[np.ndarray, " q"]:
    """Ranks from 1: among the candidates where the match is one of them, else as before."""
    own = candidates == rows[:, None]
    rivals = (candidates >= 0) & ~own
    if groups is not None:  # whose members are nobody's competitors, here as before
        rivals &= groups[candidates] != groups[rows][:, None]
    match = np.where(own, scores, 0).sum(axis=1)
    # Not <, rather than >=: a score that is not a number counts against the query.
    after = 1 + (rivals & ~(scores < match[:, None])).sum(axis=1)
    return np.where(own.any(axis=1), after, before)

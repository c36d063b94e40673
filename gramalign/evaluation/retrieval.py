"""Any-to-any retrieval: any modalities as the query, any others as the gallery.

The candidates rule. A query is a row with both its query side and its own match present. Its
gallery is every example with its gallery side present, less the other members of the query's group.
A tuple counts as present if at least one of its modalities is. A query's rank is 1 + the number of
other candidates that score at least as high as the match: ties count against the query, so a
collapsed space ranks last and not first.

Chance R@k is k / (number of candidates), averaged over the queries.

Where modalities are missing, one gallery holds tuples of different sizes. The cosine and the height
are the Scores to search them by: volumes, singular values and products tend to rank tuples of one
size first, whatever the query.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Int, Integer

from gramalign.contrast import dual_softmax, ranks
from gramalign.evaluation.devices import Batch, on_devices
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.means import mean
from gramalign.evaluation.records import Record
from gramalign.scores import SCORE_NAMES, Between, ScoreLike, name_of, score_named
from gramalign.types import Say

RECALL_AT = (1, 5, 10)

COLDEST = 1e-30
"""Least temperature: scores over a smaller one may be more than float32 holds."""

FUSED = "fused"
"""The Score of VAST: the cosine with the one embedding that a trained fusion made of a tuple."""


@dataclass(frozen=True)
class Retrieval(Record):
    """Figures of one kind of query against one kind of gallery; NaN where there was no query.

    Attributes:
        query: modalities on the query side; several mean the tuple of them.
        gallery: modalities on the gallery side.
        score: name of the Score that ranked the candidates.
        queries: number of queries.
        candidates: gallery size, averaged over the queries.
        recall: k -> percent of queries whose match is among the first k.
        chance: k -> the same for a random order.
        median_rank: median rank of the match, 1 is best.
        mean_rank: mean rank of the match.
        mean_reciprocal_rank: mean of 1 / rank, 1 is best.
        ranks: rank of each example's match, 0 where the example is not a query; not part of the
            record, so None in figures that were read from one.
    """

    query: tuple[str, ...]
    gallery: tuple[str, ...]
    score: str
    queries: int
    candidates: float
    recall: Mapping[int, float]
    chance: Mapping[int, float]
    median_rank: float
    mean_rank: float
    mean_reciprocal_rank: float
    ranks: Int[np.ndarray, " examples"] | None = field(
        default=None, repr=False, compare=False, metadata={"record": False}
    )

    @property
    def name(self) -> str:
        """E.g. `text -> audio+video, cosine`."""
        return f"{task_name(self.query, self.gallery)}, {self.score}"


def retrieval_figures(
    data: EmbeddingSet,
    score: ScoreLike,
    *,
    dual_temperature: float | None = None,
    say: Say = lambda text: None,
) -> tuple[Retrieval, ...]:
    """Retrieval for every ordered pair, every modality -> the rest, and the rest -> every modality.

    Args:
        data: checked embeddings of `k` modalities.
        score: one of `SCORE_NAMES`, `FUSED` or a class of Scores, as for `retrieve_both_ways`.
        dual_temperature: as for `retrieve_both_ways`.
        say: called with what is measured next.

    Returns:
        `k (k - 1) + 2 k` results; for two modalities, pairs and tuples are the same two results.

    Raises:
        ValueError: unknown score, or `FUSED` without fused embeddings.
    """
    results = [
        retrieve_both_ways(data, *sides, score, dual_temperature=dual_temperature)
        for sides in tasks(data.modalities, f"retrieval, {name_of(score)}", say)
    ]
    return tuple(result for both in results for result in both)


def tasks(
    modalities: Sequence[str], what: str, say: Say
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Both sides of every task, said before it: every pair, and every modality with the rest.

    Each stands for both directions.
    """
    pairs = [((one,), (other,)) for one, other in itertools.combinations(modalities, 2)]
    tuples = [((one,), all_but(modalities, one)) for one in modalities if len(modalities) > 2]
    for number, (one, other) in enumerate(pairs + tuples, 1):
        say(f"{what}: {task_name(one, other)} and back, {number} of {len(pairs + tuples)}")
        yield one, other


def task_name(query: Sequence[str], gallery: Sequence[str]) -> str:
    """E.g. `text -> audio+video`."""
    return f"{'+'.join(query)} -> {'+'.join(gallery)}"


def retrieve_both_ways(
    data: EmbeddingSet,
    query: Sequence[str],
    gallery: Sequence[str],
    score: ScoreLike,
    *,
    dual_temperature: float | None = None,
) -> tuple[Retrieval, Retrieval]:
    """Retrieval between any two sets of modalities, in both directions.

    Args:
        data: checked embeddings.
        query: modalities of the query; several form one tuple.
        gallery: modalities of the gallery, none of them in the query.
        score: one of `SCORE_NAMES`, or `FUSED`; or a class of Scores, whose name the figures then
            use. For a pair the volume is `|sin|`, which ranks like `|cos|`; for several modalities
            see `gramalign.scores.between`. If gallery tuples lack modalities, use
            the cosine.
            `FUSED` compares pairs by the cosine, has no query where nothing was fused, and accepts
            no tuple but "all but one".
        dual_temperature: ranks under the dual softmax at this temperature, over all queries and
            the whole gallery at once (`gramalign.contrast.dual_softmax`); None: plain.

    Returns:
        The figures of query -> gallery, and those of gallery -> query.

    Raises:
        ValueError: an unknown score, a modality that is unknown or on both sides, `FUSED` without
            fused embeddings that fit, or a temperature as in `check_temperature`.
    """
    query, gallery = check_sides(data, query, gallery)
    check_temperature(dual_temperature)
    between, batch = task_of(data, query, gallery, score)
    found = on_devices(_Ranks(between, dual_temperature), batch)
    row_ranks, col_ranks, row_valid, col_valid = found
    asked = _asked(data, query, gallery, score)
    row_ranks = _with_misses(row_ranks, asked, col_valid, data.groups)
    col_ranks = _with_misses(col_ranks, asked, row_valid, data.groups)
    called = name_of(score)
    if dual_temperature is not None:
        called += f", dual softmax at {dual_temperature:g}"
    return (
        figures_of(query, gallery, called, row_ranks, col_valid, data.groups),
        figures_of(gallery, query, called, col_ranks, row_valid, data.groups),
    )


def task_of(
    data: EmbeddingSet, query: tuple[str, ...], gallery: tuple[str, ...], score: ScoreLike
) -> tuple[Between, Batch]:
    """What ranks the gallery of a task, and the examples under its names, with masks and groups."""
    check_score(score, fused=True)
    _check_fused(data, score)
    vectors = {name: data.embeddings[name] for name in (*query, *gallery)}
    masks = {name: data.present[name] for name in vectors}
    asked, looked_through = query, gallery
    if score == FUSED and len(vectors) > 2:
        # One embedding stands for all the others, under the first one's name.
        one, others = _divided(query, gallery)
        vectors[others[0]], masks[others[0]] = _fused_rest(data, one, others)
        asked, looked_through = query[:1], gallery[:1]
    between, names = anonymous("cosine" if score == FUSED else score, asked, looked_through)
    batch = (
        {role: vectors[name] for name, role in names.items()},
        {role: masks[name] for name, role in names.items()},
        data.groups,
    )
    return between, batch


def _divided(query: tuple[str, ...], gallery: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The modality that is a side by itself, and the others."""
    return (query[0], gallery) if len(query) == 1 else (gallery[0], query)


def _asked(
    data: EmbeddingSet, query: tuple[str, ...], gallery: tuple[str, ...], score: ScoreLike
) -> Bool[np.ndarray, " n"]:
    """Examples that were given with something on both sides."""
    asked = data.asked(query) & data.asked(gallery)
    if score == FUSED and len(query) + len(gallery) > 2:
        asked &= _fused_rest(data, *_divided(query, gallery))[1]
    return asked


def _with_misses(
    ranked: Int[np.ndarray, " n"],
    asked: Bool[np.ndarray, " n"],
    in_gallery: Bool[np.ndarray, " n"],
    groups: Integer[np.ndarray, " n"] | None,
) -> Int[np.ndarray, " n"]:
    """Ranks, behind the whole gallery where a row of zeros is the query or its match."""
    return np.where(asked & (ranked < 0), gallery_sizes(in_gallery, groups), ranked)


def check_sides(
    data: EmbeddingSet, query: Sequence[str], gallery: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both sides of a task; raises `ValueError` if they overlap or a modality is unknown."""
    there = ", ".join(data.modalities)
    for argument, names in (("query", query), ("gallery", gallery)):
        unknown = [name for name in names if name not in data.modalities]
        if isinstance(names, str) or not names or unknown or len(set(names)) < len(names):
            raise ValueError(
                f"{argument}: got {names!r}, expected a tuple of modalities, each once, from "
                f"{there}"
            )
    shared = [name for name in query if name in gallery]
    if shared:
        raise ValueError(
            f"query and gallery: both have {', '.join(shared)}, so every query would find itself; "
            f"divide {there} between them"
        )
    return tuple(query), tuple(gallery)


def anonymous(
    score: ScoreLike, query: Sequence[str], gallery: Sequence[str]
) -> tuple[Between, dict[str, str]]:
    """A Score under neutral names, and the name of each modality in it.

    So one compilation serves all tasks of one size.
    """
    places = {"query": query, "gallery": gallery}
    names = {name: f"{side} {i}" for side, some in places.items() for i, name in enumerate(some)}
    roles = (tuple(names[name] for name in some) for some in places.values())
    return Between(score, *roles), names


def check_score(score: ScoreLike, argument: str = "score", *, fused: bool = False) -> None:
    """Raises `ValueError` unless this is a Score, or `FUSED` where that is allowed."""
    if not (fused and score == FUSED):
        score_named(score, "anchor", argument)


def check_temperature(temperature: float | None, argument: str = "dual_temperature") -> None:
    """Raises `ValueError` for a dual softmax's temperature that is none."""
    if temperature is not None and not COLDEST <= temperature < math.inf:
        raise ValueError(
            f"{argument}: got {temperature}, expected a finite number of at least {COLDEST}, such "
            "as 0.05"
        )


def with_cosine(score: ScoreLike) -> tuple[ScoreLike, ...]:
    """A Score and the cosine, which is shown beside every other."""
    return (score,) if name_of(score) == "cosine" else (score, "cosine")


def _check_fused(data: EmbeddingSet, score: ScoreLike) -> None:
    if score == FUSED and not data.fused and len(data.modalities) > 2:
        raise ValueError(
            f"score: got {score!r} without fused embeddings, which the objective vast learns to "
            f"make, expected one of {', '.join(SCORE_NAMES)}"
        )


def _fused_rest(
    data: EmbeddingSet, one: str, others: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What all modalities but one were fused to, and where that is present."""
    if set(others) != set(all_but(data.modalities, one)):
        raise ValueError(
            f"score: {FUSED!r} needs a tuple of all modalities but one, got {', '.join(others)} of "
            f"{', '.join(data.modalities)}"
        )
    return data.fused_but(one)


@dataclass(frozen=True)
class _Ranks:
    """Ranks of both directions, and both sides' validity."""

    score: Between
    dual_temperature: float | None

    def __call__(
        self, batch: Batch, axis_name: str | None
    ) -> tuple[Int[Array, " n"], Int[Array, " n"], Bool[Array, " n"], Bool[Array, " n"]]:
        embeddings, present, groups = batch
        score: Any = self.score
        rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
        valid = rows.valid, cols.valid
        if self.dual_temperature is not None:
            score, rows, cols = dual_softmax(
                score, rows, cols, self.dual_temperature, axis_name=axis_name
            )
        return *ranks(score, rows, cols, groups=groups, axis_name=axis_name), *valid


def figures_of(
    query: tuple[str, ...],
    gallery: tuple[str, ...],
    score: str,
    ranked: Int[np.ndarray, " n"],
    in_gallery: Bool[np.ndarray, " n"],
    groups: np.ndarray | None,
) -> Retrieval:
    """The figures of ranks that count from 0 and are -1 where an example is not a query."""
    is_query = ranked >= 0
    place = ranked[is_query] + 1
    candidates = gallery_sizes(in_gallery, groups)[is_query]
    return Retrieval(
        query=query,
        gallery=gallery,
        score=score,
        queries=int(is_query.sum()),
        candidates=mean(candidates),
        recall={k: 100 * mean(place <= k) for k in RECALL_AT},
        chance={k: 100 * mean(np.minimum(k / candidates, 1)) for k in RECALL_AT},
        median_rank=float(np.median(place)) if place.size else math.nan,
        mean_rank=mean(place),
        mean_reciprocal_rank=mean(1 / place),
        ranks=ranked + 1,
    )


def gallery_sizes(
    in_gallery: Bool[np.ndarray, " n"], groups: Integer[np.ndarray, " n"] | None
) -> Int[np.ndarray, " n"]:
    """Gallery size as each row would see it as a query whose own match is in the gallery."""
    if groups is None:
        return np.full(len(in_gallery), in_gallery.sum())
    of_own_group = np.bincount(groups, weights=in_gallery)[groups].astype(int)
    return in_gallery.sum() - of_own_group + 1


def all_but(modalities: Sequence[str], name: str) -> tuple[str, ...]:
    """All modalities but one."""
    return tuple(other for other in modalities if other != name)

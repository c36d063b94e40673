"""Any-to-any retrieval: single modalities against each other and against whole tuples.

The candidates rule. A query is a row whose query side and own match are both there. Its gallery is
every example whose gallery side is there, less the other members of the query's group. One modality
is there where it is present; a tuple is there where at least one of its modalities is. Its rank is
1 + the number of other candidates that score at least as high as the match: ties count against the
query, so a collapsed space ranks last and not first.

Chance R@k is k / (number of candidates), averaged over the queries.

Where modalities are missing, tuples of different size meet in one gallery, and a Score whose scale
depends on that size (volume, singular value) compares them as they are; the cosine does not care.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gramalign.contrast import ranks
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.records import number, to_plain
from gramalign.scores import Score, anchored

RECALL_AT = (1, 5, 10)


# Every task is put as "the modality called anchor against the others", whatever the modalities are
# called outside: one compilation serves all tasks of one size.
_ANCHOR = "anchor"
_SCORES = anchored(_ANCHOR)
SCORE_NAMES = tuple(_SCORES)

FUSED = "fused"
"""The Score of VAST: the cosine with the one embedding that a trained fusion made of a tuple."""


@dataclass(frozen=True)
class Retrieval:
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
        ranks: rank of each example's match, 0 where the example is no query; not part of the
            record, and None if that is where the figures are from.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        return to_plain(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Retrieval":
        """The inverse of `to_json`."""
        return cls(
            query=tuple(record["query"]),
            gallery=tuple(record["gallery"]),
            score=record["score"],
            queries=record["queries"],
            candidates=number(record["candidates"]),
            recall={int(k): number(value) for k, value in record["recall"].items()},
            chance={int(k): number(value) for k, value in record["chance"].items()},
            median_rank=number(record["median_rank"]),
            mean_rank=number(record["mean_rank"]),
            mean_reciprocal_rank=number(record["mean_reciprocal_rank"]),
        )


def retrieval_figures(data: EmbeddingSet, score: str) -> tuple[Retrieval, ...]:
    """Retrieval for every ordered pair, every modality -> the rest, and the rest -> every modality.

    Args:
        data: checked embeddings of `k` modalities.
        score: one of `SCORE_NAMES`, or `FUSED`. For a pair the volume is `|sin|`, which ranks like
            `|cos|`; under the cosine a tuple is the normalised sum of its modalities. `FUSED` takes
            pairs under the cosine, and has no query where nothing was fused.

    Returns:
        `k (k - 1) + 2 k` results; at two modalities pairs and tuples are the same two results.

    Raises:
        ValueError: unknown score, or `FUSED` where there is nothing fused.
    """
    if score not in (*SCORE_NAMES, FUSED):
        raise ValueError(f"score: got {score!r}, wanted one of {', '.join(SCORE_NAMES)}, {FUSED}")
    if score == FUSED and not data.fused and len(data.modalities) > 2:
        raise ValueError(
            f"score: got {score!r}, but no fused embeddings, which the objective vast learns to "
            f"make; wanted one of {', '.join(SCORE_NAMES)}"
        )
    # Uploaded once; every task below then takes its part of it.
    embeddings = {name: jnp.asarray(values) for name, values in data.embeddings.items()}
    present = {name: jnp.asarray(mask) for name, mask in data.present.items()}
    groups = None if data.groups is None else jnp.asarray(data.groups)

    tasks = [(one, (other,)) for one, other in itertools.combinations(data.modalities, 2)]
    if len(data.modalities) > 2:
        tasks += [(one, _without(data.modalities, one)) for one in data.modalities]
    results: list[Retrieval] = []
    for anchor, others in tasks:
        roles = {_ANCHOR: anchor} | {f"other {i}": name for i, name in enumerate(others)}
        vectors = {role: embeddings[name] for role, name in roles.items()}
        masks = {role: present[name] for role, name in roles.items()}
        if score == FUSED and len(others) > 1:
            vectors, masks = _with_fused(vectors, masks, data.fused.get(anchor))
        sides = _both_ways(_SCORES["cosine" if score == FUSED else score], vectors, masks, groups)
        row_ranks, col_ranks, row_valid, col_valid = (np.asarray(side) for side in sides)
        results += [
            _figures((anchor,), others, score, row_ranks, col_valid, data.groups),
            _figures(others, (anchor,), score, col_ranks, row_valid, data.groups),
        ]
    return tuple(results)


def _with_fused(
    vectors: dict[str, Array], masks: dict[str, Array], fused: Float[np.ndarray, "n d"] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The anchor and, in the place of all others, what they were fused to."""
    here = masks.pop(_ANCHOR)
    there = jnp.any(jnp.stack(list(masks.values())), axis=0)
    anchor = vectors[_ANCHOR]
    if fused is None:
        fused, there = np.zeros(anchor.shape, np.float32), jnp.zeros_like(there)
    return (
        {_ANCHOR: anchor, "other 0": jnp.asarray(fused)},
        {_ANCHOR: here, "other 0": there},
    )


@partial(jax.jit, static_argnames="score")
def _both_ways(
    score: Score,
    embeddings: Mapping[str, Array],
    present: Mapping[str, Array],
    groups: Array | None,
) -> tuple[Int[Array, " n"], Int[Array, " n"], Bool[Array, " n"], Bool[Array, " n"]]:
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    return *ranks(score, rows, cols, groups=groups), rows.valid, cols.valid


def _figures(
    query: tuple[str, ...],
    gallery: tuple[str, ...],
    score: str,
    ranked: np.ndarray,
    in_gallery: np.ndarray,
    groups: np.ndarray | None,
) -> Retrieval:
    is_query = ranked >= 0
    place = ranked[is_query] + 1
    candidates = _candidates(in_gallery, groups)[is_query]
    return Retrieval(
        query=query,
        gallery=gallery,
        score=score,
        queries=int(is_query.sum()),
        candidates=_mean(candidates),
        recall={k: 100 * _mean(place <= k) for k in RECALL_AT},
        chance={k: 100 * _mean(np.minimum(k / candidates, 1)) for k in RECALL_AT},
        median_rank=float(np.median(place)) if place.size else math.nan,
        mean_rank=_mean(place),
        mean_reciprocal_rank=_mean(1 / place),
        ranks=ranked + 1,
    )


def _candidates(in_gallery: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Gallery size as each row would see it as a query whose own match is in the gallery."""
    if groups is None:
        return np.full(len(in_gallery), in_gallery.sum())
    of_own_group = np.bincount(groups, weights=in_gallery)[groups].astype(int)
    return in_gallery.sum() - of_own_group + 1


def _without(modalities: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in modalities if other != name)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan

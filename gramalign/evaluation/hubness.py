"""Hubness: whether a few gallery items are among the nearest of nearly every query.

N_k(j) is the number of queries that have item j among their k nearest. Its mean is roughly k in any
space; its skewness is near 0 if all items are found equally often, and grows as hubs displace other
items, which high dimensions, cones and modality gaps all cause. An item that is never near is never
found.

    skewness = mean_j (N_k(j) - mean N_k)^3 / std(N_k)^3

Source: Radovanovic, Nanopoulos and Ivanovic, Hubs in Space, JMLR 11, 2010.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gramalign.contrast import top_k
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.scores import CosineScore

NEIGHBOURS = 10
"""k of N_k, as in the source."""


@dataclass(frozen=True)
class Hubness:
    """Hubness of one modality's embeddings to the queries of another, under the cosine.

    Attributes:
        query: the modality on the query side.
        gallery: the modality whose items are counted.
        skewness: of N_k; NaN where the gallery has no more than k items.
        largest: the largest N_k, at most the number of queries; NaN as above.
    """

    query: str
    gallery: str
    skewness: float
    largest: float


def hubness(data: EmbeddingSet) -> tuple[Hubness, ...]:
    """Hubness of every ordered pair of modalities.

    Every present row of one modality is a query against every present row of the other, whether or
    not its own match is present. Of equal items the first is nearer, so duplicates make hubs too.

    Args:
        data: checked embeddings.

    Returns:
        One result for each ordered pair.
    """
    from scipy import stats  # takes a second to import

    embeddings = {name: jnp.asarray(values) for name, values in data.embeddings.items()}
    present = {name: jnp.asarray(mask) for name, mask in data.present.items()}
    found = []
    for query in data.modalities:
        for gallery in data.modalities:
            if gallery == query:
                continue
            skewness, largest = math.nan, math.nan
            if data.present[query].any() and data.present[gallery].sum() > NEIGHBOURS:
                near = _jitted_nearest(
                    *(embeddings[query], embeddings[gallery]),
                    *(present[query], present[gallery]),
                    k=NEIGHBOURS,
                )
                counts = k_occurrence(np.asarray(near), len(data))[data.present[gallery]]
                largest = float(counts.max())
                # If all are equal there is no hub, and the deviation is 0.
                skewness = float(stats.skew(counts)) if np.ptp(counts) else 0.0
            found.append(Hubness(query, gallery, skewness, largest))
    return tuple(found)


def k_occurrence(
    neighbours: Int[np.ndarray, "queries k"], size: int
) -> Int[np.ndarray, " gallery"]:
    """N_k of every gallery item.

    Args:
        neighbours: row numbers of each query's k nearest items; a query with a -1 does not count.
        size: number of items in the gallery.

    Returns:
        How many queries have each item among their k nearest.

    >>> k_occurrence(np.array([[0, 1], [1, 2], [-1, -1]]), 4).tolist()
    [1, 2, 1, 0]
    """
    return np.bincount(neighbours[neighbours >= 0], minlength=size)


@partial(jax.jit, static_argnames="k")
def _jitted_nearest(
    queries: Float[Array, "n d"],
    items: Float[Array, "n d"],
    asking: Bool[Array, " n"],
    there: Bool[Array, " n"],
    *,
    k: int,
) -> Int[Array, "n k"]:
    embeddings, present = {"query": queries, "item": items}, {"query": asking, "item": there}
    score = CosineScore("query", "item")
    return top_k(score, score.rows(embeddings, present), score.cols(embeddings, present), k)[1]

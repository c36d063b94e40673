"""Hubness: whether a few gallery items are among the nearest of nearly every query.

N_k(j) is the number of queries that have item j among their k nearest. Its mean is roughly k in any
space; its skewness is near 0 if all items are found equally often, and grows as hubs displace other
items, which high dimensions, cones and modality gaps all cause. An item that is never near is never
found.

    skewness = mean_j (N_k(j) - mean N_k)^3 / std(N_k)^3

Source: Radovanovic, Nanopoulos and Ivanovic, Hubs in Space, JMLR 11, 2010.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.neighbours import nearest

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

    found = []
    for query, gallery in itertools.permutations(data.modalities, 2):
        asking, there = data.present[query], data.present[gallery]
        skewness, largest = math.nan, math.nan
        if asking.any() and there.sum() > NEIGHBOURS:
            rows = data.embeddings[query], data.embeddings[gallery]
            _, near = nearest(*rows, there, NEIGHBOURS)
            counts = np.bincount(near[asking].ravel(), minlength=len(data))[there]
            largest = float(counts.max())
            # If all are equal there is no hub, and the deviation is 0.
            skewness = float(stats.skew(counts)) if np.ptp(counts) else 0.0
        found.append(Hubness(query, gallery, skewness, largest))
    return tuple(found)

"""How two modalities relate: gap, alignment, and how many matches point apart."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from gramalign.evaluation.inputs import EmbeddingSet


@dataclass(frozen=True)
class PairFigures:
    """How two modalities relate over the examples that have both.

    Attributes:
        first: one modality.
        second: the other.
        examples: number of examples that have both.
        gap: distance between the two means.
        alignment: mean squared distance of matches.
        negative: share of matches with a cosine below 0, which volume and spectrum do not see.
    """

    first: str
    second: str
    examples: int
    gap: float
    alignment: float
    negative: float = math.nan


def pair_figures(data: EmbeddingSet) -> tuple[PairFigures, ...]:
    """Measure every pair of modalities, over the examples that have both."""
    return tuple(_of_one(data, *names) for names in itertools.combinations(data.modalities, 2))


def _of_one(data: EmbeddingSet, first: str, second: str) -> PairFigures:
    both = data.present[first] & data.present[second]
    x, y = data.embeddings[first][both], data.embeddings[second][both]
    if not len(x):
        return PairFigures(first, second, 0, math.nan, math.nan)
    apart = x - y
    return PairFigures(
        first=first,
        second=second,
        examples=len(apart),
        gap=float(np.linalg.norm(apart.mean(axis=0, dtype=np.float64))),
        alignment=float(np.square(apart).sum(axis=1).mean(dtype=np.float64)),
        negative=float(np.mean(np.sum(x * y, axis=1) < 0)),
    )

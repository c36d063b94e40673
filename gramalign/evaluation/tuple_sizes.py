"""Whether a Score finds tuples of all sizes alike, where modalities are missing.

    factor = exp((L_a - L_b) - (L'_a - L'_b)),   L_s = mean log rank of matches of s modalities

of anchor -> rest, L under the Score and L' under the cosine; a is the size whose matches rank worst
under the Score, b the one whose matches rank best. Every further modality makes a volume smaller
and a singular value larger, so that tuples of one size come before those of another whatever the
query. The cosine has one scale for all sizes: L' takes out that smaller tuples are harder to find.
Logarithms, since rank 20 instead of 1 is as bad in a small gallery as in a large one.
"""

import math
from collections.abc import Sequence

import numpy as np

from gramalign.evaluation.diagnostics import SHARE
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.retrieval import Retrieval, all_but

MATCHES = 20
"""Fewest matches of a size that is compared. The standard error of a mean log rank is then about a
quarter, a factor of 1.3."""


def size_factors(
    data: EmbeddingSet, retrieval: Sequence[Retrieval], score: str
) -> dict[str, float]:
    """How many times deeper matches of one size rank than those of another, beyond the cosine.

    Args:
        data: checked embeddings.
        retrieval: `retrieval_figures` of them, under the Score and under the cosine.
        score: the Score's name.

    Returns:
        Per anchor, the factor of anchor -> rest: about 1 for a Score that is as fair as the cosine,
        NaN without two sizes of at least `MATCHES` matches and 5 % of all. Empty for two
        modalities.
    """
    ranks = {(x.query, x.gallery, x.score): x.ranks for x in retrieval if x.ranks is not None}
    factors = {}
    for anchor in data.modalities if len(data.modalities) > 2 else ():
        rest = all_but(data.modalities, anchor)
        own, cosine = (ranks[(anchor,), rest, name] for name in (score, "cosine"))
        asked = (own > 0) & (cosine > 0)
        sizes = np.sum([data.present[name] for name in rest], axis=0)[asked]
        factors[anchor] = _factor(np.log(own[asked]), np.log(cosine[asked]), sizes)
    return factors


def _factor(own: np.ndarray, cosine: np.ndarray, sizes: np.ndarray) -> float:
    enough = max(MATCHES, SHARE * len(sizes))
    masks = [sizes == size for size in np.unique(sizes)]
    masks = sorted((x for x in masks if x.sum() >= enough), key=lambda x: own[x].mean())
    if len(masks) < 2:
        return math.nan
    best, worst = masks[0], masks[-1]
    apart = [x[worst].mean() - x[best].mean() for x in (own, cosine)]
    return float(np.exp(apart[0] - apart[1]))

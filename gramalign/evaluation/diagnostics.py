"""Figures about the space: are matched tuples tight, is the sphere used, do modalities separate?

    volume              of the whole tuple, 0 where all modalities agree
    leading share       sigma_1^2 / sum_j sigma_j^2, 1 where all modalities agree, at least 1 / k
    GRAM value          mean_i min_j Vol(a_i, M_j), per anchor
    uniformity          log mean_{i != j} exp(-2 |x_i - x_j|^2), 0 if collapsed, lower is more even
    effective rank      exp of the entropy of a modality's singular values
    repeated            share of a modality's rows that are one vector
    modality gap        |mean_i x_i - mean_i y_i|
    alignment           mean_i |x_i - y_i|^2
    hubness             skewness of how often each item is among the 10 nearest

and the warnings that follow from them (`gramalign.evaluation.degeneracies`).

A mismatched tuple has one modality taken from another example, drawn at random; every modality is
replaced in turn, and all such tuples are pooled. Volume and leading share are measured over
complete tuples only, since both change with the number of modalities; gap and alignment over the
examples that have both modalities, so that they do not depend on which are missing.

Sources: volume and GRAM value, Cicchetti et al., arXiv 2412.11959; leading share, after the
singular values of Liu et al., arXiv 2507.17343; uniformity and alignment, Wang and Isola, arXiv
2005.10242; modality gap, Liang et al., arXiv 2203.02053; effective rank, Roy and Vetterli, EUSIPCO
2007; hubness, Radovanovic et al., JMLR 2010.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gramalign.evaluation.degeneracies import Degeneracy, degeneracies
from gramalign.evaluation.hubness import Hubness, hubness
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.modality_figures import effective_ranks, repeated_rows, uniformity
from gramalign.evaluation.pair_figures import PairFigures, pair_figures
from gramalign.evaluation.records import Record
from gramalign.evaluation.tuple_figures import TupleFigure, gram_values, tuple_figures


@dataclass(frozen=True)
class Diagnostics(Record):
    """Diagnostics of one set of embeddings; NaN where no example could be measured.

    Attributes:
        complete: number of examples with every modality, over which tuples are measured.
        volume: volume of tuples, 0 (all agree) to 1 (orthogonal).
        leading_share: share of the leading singular value, 1/k to 1 (all agree).
        uniformity: per modality, at most 0; about -4 for an even spread in many dimensions.
        pairs: modality gap, alignment and share of negative cosines of each pair.
        gram_value: per anchor, the mean of the smallest volume in the gallery (`gram_values`).
        coincident: per anchor, share of tuples in which every anchor fits (`Tuples`).
        overriding: per anchor, share of tuples that outrank half of all matches (`Tuples`).
        effective_rank: per modality, 1 (one line) to the dim.
        repeated: per modality, share of rows that are one vector.
        hubness: of each ordered pair.
        warnings: how the space degenerates, if it does.
    """

    complete: int
    volume: TupleFigure
    leading_share: TupleFigure
    uniformity: Mapping[str, float]
    pairs: tuple[PairFigures, ...]
    gram_value: Mapping[str, float] = field(default_factory=dict)
    coincident: Mapping[str, float] = field(default_factory=dict)
    overriding: Mapping[str, float] = field(default_factory=dict)
    effective_rank: Mapping[str, float] = field(default_factory=dict)
    repeated: Mapping[str, float] = field(default_factory=dict)
    hubness: tuple[Hubness, ...] = ()
    warnings: tuple[Degeneracy, ...] = ()


def diagnose(
    data: EmbeddingSet, *, neighbours: bool = True, uneven: Mapping[str, float] | None = None
) -> Diagnostics:
    """Measure the geometry of embeddings.

    Args:
        data: checked embeddings.
        neighbours: whether to measure hubness, which costs more than all the rest together.
        uneven: `size_factors` of the ranks under a Score, to be warned of; None: no ranks.

    Returns:
        The diagnostics; without `neighbours`, without hubness.
    """
    tuples, pairs = tuple_figures(data), pair_figures(data)
    evenness, ranks, repeated = uniformity(data), effective_ranks(data), repeated_rows(data)
    return Diagnostics(
        complete=int(data.complete.sum()),
        volume=tuples.volume,
        leading_share=tuples.leading_share,
        uniformity=evenness,
        pairs=pairs,
        gram_value=gram_values(data),
        coincident=tuples.coincident,
        overriding=tuples.overriding,
        effective_rank=ranks,
        repeated=repeated,
        hubness=hubness(data) if neighbours else (),
        warnings=degeneracies(
            coincident=tuples.coincident,
            overriding=tuples.overriding,
            pairs=pairs,
            uniformity=evenness,
            effective_rank=ranks,
            repeated=repeated,
            uneven=uneven or {},
            zeros=data.zeros,
        ),
    )

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

and the known ways in which a space degenerates, as warnings in words:

    coincident    Vol(t, v, v) = 0: other modalities that all but coincide make every anchor fit
    overriding    others that span less volume than a usual match outrank it for any query
    opposed       matches with a negative cosine, which volume and spectrum count as agreement
    collapsed     embeddings that are nearly one point, or one line
    repeated      one vector in many rows, such as the embedding of an empty input
    zero          rows of zeros, which have no direction
    uneven        incomplete tuples that a Score ranks by their size as well as by their fit

Thresholds are set where retrieval figures would show the effect: a share of 5 % moves a recall by
up to 5 points. A warning says what was measured and what follows, and no more: an untrained space
has many, and so has a good one that is searched by another Score.

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
from dataclasses import dataclass, field, replace

from gramalign.evaluation.hubness import Hubness, hubness
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.modality_figures import effective_ranks, repeated_rows, uniformity
from gramalign.evaluation.pair_figures import PairFigures, pair_figures
from gramalign.evaluation.records import Record
from gramalign.evaluation.tuple_figures import COINCIDENT, TupleFigure, gram_values, tuple_figures

SHARE = 0.05
"""Share of tuples, matches or rows from which on it is worth a warning."""

UNIFORMITY = -0.4
"""Above it rows are nearly one point: the mean cosine between two of them is above about 0.9."""

EFFECTIVE_RANK = 1.5
"""Below it rows are nearly one line: two directions used alike have effective rank 2."""

UNEVEN = 3
"""Factor between the ranks of two sizes (`gramalign.evaluation.tuple_sizes`) from which on it is
worth a warning. In simulated spaces, noisy Scores with one scale for all sizes stay below it."""


@dataclass(frozen=True)
class Degeneracy:
    """One thing that is wrong with a space.

    Attributes:
        kind: which of those above.
        figures: what was measured, by modality or by pair such as "text - audio": a share from 0
            to 1, a uniformity, an effective rank, a factor between ranks or a number of rows.
        sentence: the warning in words.
    """

    kind: str
    figures: Mapping[str, float]
    sentence: str


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
    data: EmbeddingSet,
    *,
    neighbours: bool = True,
    uneven: Mapping[str, float] | None = None,
    fused: bool = False,
) -> Diagnostics:
    """Measure the geometry of embeddings.

    Args:
        data: checked embeddings.
        neighbours: whether to measure hubness, which costs more than all the rest together.
        uneven: `size_factors` of the ranks under a Score, to be warned of; None: no ranks.
        fused: whether that Score is `FUSED`, whose embeddings no other may have been trained for.

    Returns:
        The diagnostics; without `neighbours`, without hubness.
    """
    tuples = tuple_figures(data)
    found = Diagnostics(
        complete=int(data.complete.sum()),
        volume=tuples.volume,
        leading_share=tuples.leading_share,
        uniformity=uniformity(data),
        pairs=pair_figures(data),
        gram_value=gram_values(data),
        coincident=tuples.coincident,
        overriding=tuples.overriding,
        effective_rank=effective_ranks(data),
        repeated=repeated_rows(data),
        hubness=hubness(data) if neighbours else (),
    )
    return replace(found, warnings=_degeneracies(found, uneven or {}, fused, data.zeros))


def _degeneracies(
    found: Diagnostics, uneven: Mapping[str, float], fused: bool, zeros: Mapping[str, int]
) -> tuple[Degeneracy, ...]:
    """The warnings that figures give reason for; NaN gives none."""
    points = {name: x for name, x in found.uniformity.items() if x > UNIFORMITY}
    # One point is a line too, and has a warning already.
    lines = {name: x for name, x in found.effective_rank.items() if x < EFFECTIVE_RANK}
    lines = {name: x for name, x in lines.items() if name not in points}
    opposed = {f"{pair.first} - {pair.second}": pair.negative for pair in found.pairs}
    shares = (
        ("repeated", found.repeated, _REPEATED),
        ("opposed", opposed, _OPPOSED),
        ("coincident", found.coincident, _COINCIDENT),
        ("overriding", found.overriding, _OVERRIDING),
    )
    kinds = (
        ("zero", {name: float(x) for name, x in zeros.items() if x}, "{:.0f}", _ZERO),
        ("collapsed to a point", points, "{:.2f}", _POINT),
        ("collapsed to a line", lines, "{:.2f}", _LINE),
        *(
            (kind, {name: x for name, x in of.items() if x >= SHARE}, "{:.0%}", sentence)
            for kind, of, sentence in shares
        ),
        (
            "uneven",
            {name: x for name, x in uneven.items() if x >= UNEVEN},
            "{:.0f}",
            _UNEVEN + (_OF_FUSED if fused else _OF_OTHERS),
        ),
    )
    return tuple(
        Degeneracy(kind, figures, sentence.format(_list(figures, form)))
        for kind, figures, form, sentence in kinds
        if figures
    )


_ZERO = (
    "Rows of zeros, which have no direction: as queries they are misses, and nobody finds them: "
    "{}. Find the input or the layer that makes them; if they are empty, mark them as "
    "absent in `present`."
)
_POINT = (
    "Collapsed to nearly one point, by uniformity (0 is one point, about -4 an even spread): {}. "
    "No Score, not even the cosine, can tell these embeddings apart by more than next to nothing."
)
_LINE = (
    "Collapsed to nearly one line, by effective rank: {}. The cosine tells these embeddings apart "
    "by little more than a sign; volume, height and spectral, blind to signs, not at all."
)
_REPEATED = (
    "Rows with the same vector, as an empty input would give: {}. No Score tells them apart by "
    "that modality, and where it is searched they tie, which counts against the query. If they are "
    "empty, mark them as absent in `present`."
)
_OPPOSED = (
    "Matches with a cosine below 0: {}. The cosine ranks them behind unrelated examples, while "
    "volume, height and spectral do not see signs and count opposite vectors as agreeing."
)
_COINCIDENT = (
    "Tuples whose other modalities all but coincide, in that they span a volume below "
    f"{COINCIDENT}" + ", by anchor: {}. They fit any anchor: the volume there hardly depends on "
    "the anchor, neither in training nor in rest -> anchor. The height does depend on it."
)
_OVERRIDING = (
    "Tuples whose other modalities span less volume on their own than half of all matched tuples "
    "do, by anchor: {}. Under the volume they rank before half of all matches whatever the query "
    "(anchor -> rest); rest -> anchor, the cosine and the height do not suffer from it."
)
_UNEVEN = (
    "Tuples whose rank depends on how many modalities they have: matches of one size rank so many "
    "times deeper than those of another, beyond what they do under the cosine, by anchor: {}. "
)
_OF_OTHERS = (
    "This Score ranks by size as well as by fit (anchor -> rest): search tuples with missing "
    "modalities by the cosine or the height, whichever finds more, or complete ones only."
)
_OF_FUSED = (
    "The anchor finds fusions of some sizes better than others (anchor -> rest): search complete "
    "tuples only, or all by another Score if the objective trains one."
)


def _list(figures: Mapping[str, float], form: str) -> str:
    # Adding 0 makes 0 of -0.
    return ", ".join(f"{name} {form.format(round(x, 2) + 0)}" for name, x in figures.items())

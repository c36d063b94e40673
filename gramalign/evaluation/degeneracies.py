"""Known ways in which a space degenerates, as warnings in words where they were measured.

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
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gramalign.evaluation.pair_figures import PairFigures
from gramalign.evaluation.tuple_figures import COINCIDENT

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


def degeneracies(
    *,
    coincident: Mapping[str, float],
    overriding: Mapping[str, float],
    pairs: Sequence[PairFigures],
    uniformity: Mapping[str, float],
    effective_rank: Mapping[str, float],
    repeated: Mapping[str, float],
    uneven: Mapping[str, float],
    zeros: Mapping[str, int],
) -> tuple[Degeneracy, ...]:
    """The warnings that the figures of a space give reason for; NaN gives none.

    Args:
        coincident: as in `Tuples`.
        overriding: as in `Tuples`.
        pairs: of every two modalities.
        uniformity: per modality.
        effective_rank: per modality.
        repeated: per modality, the share of rows that are one vector.
        uneven: per anchor, as `size_factors` measures it under some Score.
        zeros: numbers of rows, as in `EmbeddingSet`; any is worth a warning.

    Returns:
        The warnings, none for a healthy space.
    """
    points = {name: x for name, x in uniformity.items() if x > UNIFORMITY}
    # One point is a line too, and has a warning already.
    lines = {name: x for name, x in effective_rank.items() if x < EFFECTIVE_RANK}
    lines = {name: x for name, x in lines.items() if name not in points}
    opposed = {f"{pair.first} - {pair.second}": pair.negative for pair in pairs}
    empty = {name: float(x) for name, x in zeros.items() if x}
    found = [
        ("zero", empty, _ZERO.format(_list(empty, "{:.0f}"))),
        ("collapsed to a point", points, _POINT.format(_list(points, "{:.2f}"))),
        ("collapsed to a line", lines, _LINE.format(_list(lines, "{:.2f}"))),
    ]
    for kind, shares, sentence in (
        ("repeated", repeated, _REPEATED),
        ("opposed", opposed, _OPPOSED),
        ("coincident", coincident, _COINCIDENT),
        ("overriding", overriding, _OVERRIDING),
    ):
        many = {name: x for name, x in shares.items() if x >= SHARE}
        found.append((kind, many, sentence.format(_list(many, "{:.0%}"))))
    factors = {name: x for name, x in uneven.items() if x >= UNEVEN}
    found.append(("uneven", factors, _UNEVEN.format(_list(factors, "{:.0f}"))))
    return tuple(Degeneracy(*each) for each in found if each[1])


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
    "This Score ranks by size as well as by fit (anchor -> rest): search tuples with missing "
    "modalities by the cosine or the height, whichever finds more, or complete ones only."
)


def _list(figures: Mapping[str, float], form: str) -> str:
    # Adding 0 makes 0 of -0.
    return ", ".join(f"{name} {form.format(round(x, 2) + 0)}" for name, x in figures.items())

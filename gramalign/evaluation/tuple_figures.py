"""Volume and leading share of matched and mismatched tuples: means, histograms, separation.

A mean hides how far the two distributions overlap, which decides how often a wrong answer beats the
match. So both are kept as histograms over fixed bins, comparable between runs, with the probability
that a matched tuple agrees better than a mismatched one: the area under the ROC curve (Mann and
Whitney's U over the number of pairs; ties count half).

Only complete tuples are measured, since both figures change with the number of modalities.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gramalign.contrast import top_k
from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.geometry import singular_values, volume
from gramalign.scores import VolumeScore

BINS = 50
"""Bins of a histogram, of equal width from 0 to 1."""

COINCIDENT = 0.1
"""Volume below which vectors are taken to coincide: about 6 degrees between two. Every anchor then
has a volume below it too, and at the paper's temperature of 0.07 no two anchors differ by more than
a factor of e^(0.1 / 0.07) = 4, where agreement and orthogonality differ by e^14."""


@dataclass(frozen=True)
class TupleFigure:
    """A figure over matched tuples and over mismatched ones.

    Attributes:
        matched: mean over matched tuples.
        mismatched: mean over mismatched ones.
        separation: probability that a matched tuple agrees better than a mismatched one: 1 if the
            two are fully separated, 0.5 if they cannot be told apart.
        matched_histogram: number of matched tuples in each of `BINS` bins from 0 to 1.
        mismatched_histogram: the same of mismatched ones.
    """

    matched: float
    mismatched: float
    separation: float = math.nan
    matched_histogram: tuple[int, ...] = ()
    mismatched_histogram: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tuples:
    """All figures of tuples; NaN if no tuple is complete.

    Attributes:
        volume: smaller is better aligned.
        leading_share: larger is better aligned.
        coincident: per modality, the share of tuples whose other modalities span a volume below
            `COINCIDENT`: the volume is then as small for any embedding of that modality. Empty for
            two modalities, where there is only one other.
        overriding: per modality, the share of tuples whose other modalities span less volume than
            half of all matched tuples do. Whatever the query, they outrank half of all matches.
    """

    volume: TupleFigure
    leading_share: TupleFigure
    coincident: Mapping[str, float]
    overriding: Mapping[str, float]


def tuple_figures(data: EmbeddingSet) -> Tuples:
    """Measure the complete tuples.

    A mismatched tuple has one modality taken from another complete example, unless that is of the
    same group; every modality is replaced in turn. Which other one is drawn by a fixed seed.

    Args:
        data: checked embeddings.

    Returns:
        The figures.
    """
    complete, clusters = data.complete, data.clusters
    names = data.modalities if len(data.modalities) > 2 else ()
    if not complete.any():
        none, unknown = TupleFigure(math.nan, math.nan), dict.fromkeys(names, math.nan)
        return Tuples(none, none, unknown, unknown)
    # All rows, though some do not count: one shape, one compilation.
    tuples = np.stack([data.embeddings[name] for name in data.modalities], axis=1)
    # Neighbours in a store that is sorted by class are of one class, where most mismatches are not.
    order = np.random.default_rng(0).permutation(np.flatnonzero(complete))
    other = np.roll(order, 1)
    # Another example is no mismatch if it belongs to the same group.
    foreign = order[clusters[order] != clusters[other]]
    everyone = np.ones(tuples.shape[:2], bool)
    matched = _volume_and_share(tuples, everyone)[:, order]
    mismatched, coincident, overriding = [], {}, {}
    for i in range(tuples.shape[1]):
        mixed = tuples.copy()
        mixed[order, i] = tuples[other, i]
        mismatched.append(_volume_and_share(mixed, everyone)[:, foreign])
    for i, name in enumerate(names):
        others = everyone.copy()
        others[:, i] = False
        bound = _volume_and_share(tuples, others)[0, order]
        coincident[name] = float(np.mean(bound < COINCIDENT))
        overriding[name] = float(np.mean(bound < np.median(matched[0])))
    volumes, shares = zip(matched, np.concatenate(mismatched, axis=1), strict=True)
    return Tuples(
        _figure(*volumes, agreement=-1), _figure(*shares, agreement=1), coincident, overriding
    )


def gram_values(data: EmbeddingSet) -> dict[str, float]:
    """The GRAM value of every anchor: mean over anchors i of min over tuples j of Vol(a_i, M_j).

    The published evaluation logs it as `gramian_value`, with text as the anchor, and the paper
    plots one minus it against retrieval quality. It is not the mean volume of the matched tuples:
    the minimum is over the whole gallery, including the match, so it is at most that mean, equals
    it only if every query ranks its match first, and is also small in a space where some other
    tuple always fits. Read it beside `Tuples.volume.matched`.

    Computed in tiles, whose rounding turns a float32 volume below about 1e-3 into zero.

    Args:
        data: checked embeddings; only complete examples take part.

    Returns:
        The values by anchor; NaN if no example is complete.
    """
    complete = data.complete
    if not complete.any():
        return dict.fromkeys(data.modalities, math.nan)
    embeddings = {name: jnp.asarray(values) for name, values in data.embeddings.items()}
    mask = jnp.asarray(complete)
    values = {}
    for anchor in data.modalities:
        others = [name for name in data.modalities if name != anchor]
        roles = {_ANCHOR: anchor} | {f"other {i}": name for i, name in enumerate(others)}
        # By role, not by name: all anchors are one program.
        nearest = _jitted_nearest({role: embeddings[name] for role, name in roles.items()}, mask)
        values[anchor] = float(np.asarray(nearest, np.float64)[complete].mean())
    return values


_ANCHOR = "anchor"


@jax.jit
def _jitted_nearest(
    embeddings: Mapping[str, Float[Array, "n d"]], complete: Bool[Array, " n"]
) -> Float[Array, " n"]:
    score = VolumeScore(_ANCHOR)
    present = dict.fromkeys(embeddings, complete)
    best, _ = top_k(score, score.rows(embeddings, present), score.cols(embeddings, present), 1)
    return -best[:, 0]


def _volume_and_share(tuples: np.ndarray, kept: np.ndarray) -> np.ndarray:
    found = _jitted_volume_and_share(jnp.asarray(tuples), jnp.asarray(kept))
    return np.asarray(found, np.float64)


@jax.jit
def _jitted_volume_and_share(
    tuples: Float[Array, "n k d"], kept: Bool[Array, "n k"]
) -> Float[Array, "2 n"]:
    squares = singular_values(tuples, kept) ** 2
    total = squares.sum(axis=-1)
    share = squares.max(axis=-1) / jnp.where(total == 0, 1, total)
    return jnp.stack([volume(tuples, kept), share])


def _figure(matched: np.ndarray, mismatched: np.ndarray, *, agreement: int) -> TupleFigure:
    return TupleFigure(
        matched=float(matched.mean()),
        mismatched=float(mismatched.mean()) if mismatched.size else math.nan,
        separation=_separation(agreement * matched, agreement * mismatched),
        matched_histogram=_histogram(matched),
        mismatched_histogram=_histogram(mismatched),
    )


def _separation(larger: np.ndarray, smaller: np.ndarray) -> float:
    if not larger.size or not smaller.size:
        return math.nan
    from scipy import stats  # takes a second to import

    ranks = stats.rankdata(np.concatenate([larger, smaller]))[: len(larger)]
    above = ranks.sum() - len(larger) * (len(larger) + 1) / 2
    return float(above / (len(larger) * len(smaller)))


def _histogram(values: np.ndarray) -> tuple[int, ...]:
    # Rounding may take a volume past 1.
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=BINS, range=(0, 1))
    return tuple(counts.tolist())

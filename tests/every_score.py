"""Every Score beside its definition in numpy: a new one belongs in this table."""

from functools import partial

import jax

from gramalign.scores import (
    AggregateScore,
    CosineScore,
    DirectionScore,
    HeightScore,
    HyperbolicVolumeScore,
    KernelVolumeScore,
    MixedScore,
    ProductScore,
    SimplexScore,
    SpectralScore,
    VolumeScore,
    anchored,
)
from tests import reference

ANCHOR = "a"
BANDWIDTH = 1.0

MIXED = MixedScore((SimplexScore(ANCHOR), CosineScore(ANCHOR)), (0.7, 0.4))


def mixed_scores(embeddings, present, anchor):
    """The weighted sum that MIXED stands for."""
    simplex = reference.simplex_scores(embeddings, present, anchor)
    return 0.7 * simplex + 0.4 * reference.cosine_scores(embeddings, present, anchor)


def of_directions(embeddings, present, anchor, **options):
    """Direction scores, which know no anchor."""
    del anchor
    return reference.direction_scores(embeddings, present, **options)


EVERY = {
    "cosine of two": (CosineScore(ANCHOR, "b"), partial(reference.cosine_scores, col="b")),
    "cosine with the rest": (CosineScore(ANCHOR), reference.cosine_scores),
    "volume": (VolumeScore(ANCHOR), reference.volume_scores),
    "volume squared": (
        VolumeScore(ANCHOR, "squared"),
        partial(reference.volume_scores, form="squared"),
    ),
    "log-volume": (VolumeScore(ANCHOR, "log"), partial(reference.volume_scores, form="log")),
    "root of volume": (VolumeScore(ANCHOR, "root"), partial(reference.volume_scores, form="root")),
    "height": (HeightScore(ANCHOR), reference.height_scores),
    "height squared": (
        HeightScore(ANCHOR, squared=True),
        partial(reference.height_scores, squared=True),
    ),
    "hyperbolic volume": (HyperbolicVolumeScore(ANCHOR), reference.hyperbolic_scores),
    "kernel volume": (
        KernelVolumeScore(ANCHOR, BANDWIDTH),
        partial(reference.kernel_scores, bandwidth=BANDWIDTH),
    ),
    "spectral": (SpectralScore(ANCHOR), reference.spectral_scores),
    "direction": (DirectionScore(), of_directions),
    "direction squared": (DirectionScore(signed=False), partial(of_directions, signed=False)),
    "product": (ProductScore(ANCHOR), reference.product_scores),
    "simplex": (SimplexScore(ANCHOR), reference.simplex_scores),
    "simplex squared": (
        SimplexScore(ANCHOR, squared=True),
        partial(reference.simplex_scores, squared=True),
    ),
    "simplex scaled": (
        SimplexScore(ANCHOR, scaled=True),
        partial(reference.simplex_scores, scaled=True),
    ),
    "aggregate": (AggregateScore(ANCHOR), reference.aggregate_scores),
    "mixed": (MIXED, mixed_scores),
}

SCORES = {name: score for name, (score, _) in EVERY.items()}

VARIANTS = {
    "volume squared",
    "log-volume",
    "root of volume",
    "height squared",
    "simplex squared",
    "simplex scaled",
    "direction squared",
    "mixed",
}
"""Computed elementwise from others: nothing new to what goes through their tiles."""

MAIN = [name for name in SCORES if name not in VARIANTS]


def tile_of(score, embeddings, present=None):
    """What a Score makes of all rows against all columns."""
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    return score.tile(rows.factors, cols.factors)


@partial(jax.jit, static_argnums=0)
def both(score, embeddings, present=None):
    """The same, and what it makes of matched tuples."""
    return tile_of(score, embeddings, present), score.matched(embeddings, present)


def definition(name):
    """The same of a Score that the library names, as a function of the anchor too."""
    return dict(EVERY.values())[anchored(ANCHOR)[name]]


def score_matrix(name, embeddings, present=None):
    """All rows against all columns, in float64."""
    return EVERY[name][1](embeddings, present, ANCHOR)


def valid(name, embeddings, present):
    """Which rows have what their side needs, and which columns."""
    there = reference.masks(embeddings, present)
    others = sum(mask for other, mask in there.items() if other != ANCHOR) > 0
    if name.startswith("direction"):
        some = there[ANCHOR] | others
        return some, some
    return there[ANCHOR], there["b"] if name == "cosine of two" else others

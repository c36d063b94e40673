"""Every Score beside its definition in numpy: a new one belongs in this table."""

from gramalign.scores import (
    CosineScore,
    DirectionScore,
    HyperbolicVolumeScore,
    KernelVolumeScore,
    SpectralScore,
    VolumeScore,
)
from tests import reference

ANCHOR = "a"
BANDWIDTH = 0.8

SCORES = {
    "cosine of two": CosineScore(ANCHOR, "b"),
    "cosine with the rest": CosineScore(ANCHOR),
    "volume": VolumeScore(ANCHOR),
    "hyperbolic volume": HyperbolicVolumeScore(ANCHOR),
    "kernel volume": KernelVolumeScore(ANCHOR, BANDWIDTH),
    "spectral": SpectralScore(ANCHOR),
    "direction": DirectionScore(),
    "direction squared": DirectionScore(signed=False),
}


def score_matrix(name, embeddings, present=None):
    """All rows against all columns, in float64."""
    return {
        "cosine of two": lambda: reference.cosine_scores(embeddings, present, ANCHOR, "b"),
        "cosine with the rest": lambda: reference.cosine_scores(embeddings, present, ANCHOR),
        "volume": lambda: reference.volume_scores(embeddings, present, ANCHOR),
        "hyperbolic volume": lambda: reference.hyperbolic_scores(embeddings, present, ANCHOR),
        "kernel volume": lambda: reference.kernel_scores(embeddings, present, ANCHOR, BANDWIDTH),
        "spectral": lambda: reference.spectral_scores(embeddings, present, ANCHOR),
        "direction": lambda: reference.direction_scores(embeddings, present),
        "direction squared": lambda: reference.direction_scores(embeddings, present, signed=False),
    }[name]()


def valid(name, embeddings, present):
    """Which rows have what their side needs, and which columns."""
    there = reference.masks(embeddings, present)
    others = sum(mask for other, mask in there.items() if other != ANCHOR) > 0
    if name.startswith("direction"):
        some = there[ANCHOR] | others
        return some, some
    return there[ANCHOR], there["b"] if name == "cosine of two" else others

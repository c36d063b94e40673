"""Floor 1: Scores, one file a method; they know nothing of softmax or devices."""

from gramalign.scores.aggregate import AggregateScore
from gramalign.scores.cosine import CosineScore
from gramalign.scores.direction import DirectionScore
from gramalign.scores.hyperbolic import HyperbolicVolumeScore
from gramalign.scores.kernel_volume import KernelVolumeScore
from gramalign.scores.mixed import MixedScore
from gramalign.scores.product import ProductScore
from gramalign.scores.protocol import Score, Side, Tiled
from gramalign.scores.simplex import SimplexScore
from gramalign.scores.spectral import SpectralScore
from gramalign.scores.volume import VolumeScore

SCORES: dict[str, type[Score]] = {
    "cosine": CosineScore,
    "aggregate": AggregateScore,
    "volume": VolumeScore,
    "simplex": SimplexScore,
    "hyperbolic": HyperbolicVolumeScore,
    "kernel_volume": KernelVolumeScore,
    "spectral": SpectralScore,
    "product": ProductScore,
    "direction": DirectionScore,
    "mixed": MixedScore,
}
"""Every Score by name: what commands offer and list."""

TUPLE_SCORES = (
    "cosine",
    "aggregate",
    "volume",
    "simplex",
    "hyperbolic",
    "kernel_volume",
    "spectral",
    "product",
)
"""Those of an anchor, their one argument without a default, against all other modalities."""

__all__ = [
    "SCORES",
    "TUPLE_SCORES",
    "AggregateScore",
    "CosineScore",
    "DirectionScore",
    "HyperbolicVolumeScore",
    "KernelVolumeScore",
    "MixedScore",
    "ProductScore",
    "Score",
    "Side",
    "SimplexScore",
    "SpectralScore",
    "Tiled",
    "VolumeScore",
]

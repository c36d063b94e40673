"""Every Score by name: what commands offer and list."""

import inspect

from gramalign.scores.aggregate import AggregateScore
from gramalign.scores.cosine import CosineScore
from gramalign.scores.direction import DirectionScore
from gramalign.scores.height import HeightScore
from gramalign.scores.hyperbolic import HyperbolicVolumeScore
from gramalign.scores.kernel_volume import KernelVolumeScore
from gramalign.scores.mixed import MixedScore
from gramalign.scores.product import ProductScore
from gramalign.scores.protocol import Score
from gramalign.scores.simplex import SimplexScore
from gramalign.scores.spectral import SpectralScore
from gramalign.scores.volume import VolumeScore

SCORES: dict[str, type[Score]] = {
    "cosine": CosineScore,
    "aggregate": AggregateScore,
    "volume": VolumeScore,
    "height": HeightScore,
    "simplex": SimplexScore,
    "hyperbolic": HyperbolicVolumeScore,
    "kernel_volume": KernelVolumeScore,
    "spectral": SpectralScore,
    "product": ProductScore,
    "direction": DirectionScore,
    "mixed": MixedScore,
}


def anchored(anchor: str) -> dict[str, Score]:
    """Every Score of one modality against the tuple of all others, with default settings."""
    return {
        name: kind(**{role: anchor})
        for name, kind in SCORES.items()
        for role in ("anchor", "row")
        if role in inspect.signature(kind).parameters
    }

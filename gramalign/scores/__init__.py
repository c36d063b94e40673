"""Floor 1: Scores, one file a method; they know nothing of softmax or devices."""

from gramalign.scores.cosine import CosineScore
from gramalign.scores.direction import DirectionScore
from gramalign.scores.hyperbolic import HyperbolicVolumeScore
from gramalign.scores.kernel_volume import KernelVolumeScore
from gramalign.scores.protocol import Score, Side, Tiled
from gramalign.scores.spectral import SpectralScore
from gramalign.scores.volume import VolumeScore

__all__ = [
    "CosineScore",
    "DirectionScore",
    "HyperbolicVolumeScore",
    "KernelVolumeScore",
    "Score",
    "Side",
    "SpectralScore",
    "Tiled",
    "VolumeScore",
]

"""Floor 1: Scores, one file a method; they know nothing of softmax or devices."""

from gramalign.scores.cosine import CosineScore
from gramalign.scores.direction import DirectionScore
from gramalign.scores.protocol import Score, Side
from gramalign.scores.spectral import SpectralScore
from gramalign.scores.volume import VolumeScore

SCORES: dict[str, type[Score]] = {
    "cosine": CosineScore,
    "volume": VolumeScore,
    "spectral": SpectralScore,
    "direction": DirectionScore,
}

__all__ = [
    "SCORES",
    "CosineScore",
    "DirectionScore",
    "Score",
    "Side",
    "SpectralScore",
    "VolumeScore",
]

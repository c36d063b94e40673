"""Floor 1: Scores, one file a method; they know nothing of softmax or devices."""

from gramalign.scores.aggregate import AggregateScore
from gramalign.scores.between import Between
from gramalign.scores.cosine import CosineScore
from gramalign.scores.direction import DirectionScore
from gramalign.scores.height import HeightScore
from gramalign.scores.hyperbolic import HyperbolicVolumeScore
from gramalign.scores.kernel_volume import KernelVolumeScore
from gramalign.scores.mixed import MixedScore
from gramalign.scores.named import SCORE_NAMES, ScoreLike, name_of, score_named
from gramalign.scores.product import ProductScore
from gramalign.scores.protocol import Score, Side, Tiled
from gramalign.scores.registry import SCORES, anchored
from gramalign.scores.simplex import SimplexScore
from gramalign.scores.spectral import SpectralScore
from gramalign.scores.volume import VolumeScore

__all__ = [
    "SCORES",
    "SCORE_NAMES",
    "AggregateScore",
    "Between",
    "CosineScore",
    "DirectionScore",
    "HeightScore",
    "HyperbolicVolumeScore",
    "KernelVolumeScore",
    "MixedScore",
    "ProductScore",
    "Score",
    "ScoreLike",
    "Side",
    "SimplexScore",
    "SpectralScore",
    "Tiled",
    "VolumeScore",
    "anchored",
    "name_of",
    "score_named",
]

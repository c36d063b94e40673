"""Pretrained encoders of texts, images, videos and sounds, of several `FAMILIES`, in Flax NNX."""

from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families import FAMILIES, families_of
from gramalign.models.pretrained.load import abstract, kinds, load
from gramalign.models.pretrained.published import divide
from gramalign.models.pretrained.tower import Tower

__all__ = [
    "FAMILIES",
    "Encoder",
    "Tower",
    "abstract",
    "divide",
    "families_of",
    "kinds",
    "load",
]

"""Towers into the common space, heads that fuse embeddings in it, and learned numbers."""

from gramalign.models.completion import Completion
from gramalign.models.fusion import FusionHead
from gramalign.models.identity import Identity
from gramalign.models.matching_head import MatchingHead
from gramalign.models.number import LogitScale, Number
from gramalign.models.standardize import Standardize, Statistic
from gramalign.models.tower import Tower
from gramalign.models.towers import Towers

__all__ = [
    "Completion",
    "FusionHead",
    "Identity",
    "LogitScale",
    "MatchingHead",
    "Number",
    "Standardize",
    "Statistic",
    "Tower",
    "Towers",
]

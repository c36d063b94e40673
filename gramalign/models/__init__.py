"""Towers into the common space, heads that fuse embeddings in it, and learned numbers."""

from gramalign.models.completion import Completion as Completion
from gramalign.models.fusion import FusionHead as FusionHead
from gramalign.models.identity import Identity as Identity
from gramalign.models.matching_head import MatchingHead as MatchingHead
from gramalign.models.number import LogitScale as LogitScale
from gramalign.models.number import Number as Number
from gramalign.models.standardize import Standardize as Standardize
from gramalign.models.standardize import Statistic as Statistic
from gramalign.models.tower import Tower as Tower
from gramalign.models.towers import Towers as Towers

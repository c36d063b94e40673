"""Towers that map each modality's features into the common space, and the learnable logit scale."""

from gramalign.models.fusion import FusionHead as FusionHead
from gramalign.models.logit_scale import LogitScale as LogitScale
from gramalign.models.standardize import Standardize as Standardize
from gramalign.models.standardize import Statistic as Statistic
from gramalign.models.tower import Tower as Tower
from gramalign.models.towers import Towers as Towers

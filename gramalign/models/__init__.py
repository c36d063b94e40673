"""Towers that map each modality's features into the common space, and numbers that are learned."""

from gramalign.models.number import LogitScale as LogitScale
from gramalign.models.number import Number as Number
from gramalign.models.standardize import Standardize as Standardize
from gramalign.models.standardize import Statistic as Statistic
from gramalign.models.tower import Tower as Tower
from gramalign.models.towers import Towers as Towers

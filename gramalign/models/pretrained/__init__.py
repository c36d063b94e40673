"""Pretrained encoders of texts, images, videos and sounds, of several `FAMILIES`, in Flax NNX."""

from gramalign.models.pretrained.encoder import Encoder as Encoder
from gramalign.models.pretrained.families import FAMILIES as FAMILIES
from gramalign.models.pretrained.families import families_of as families_of
from gramalign.models.pretrained.load import abstract as abstract
from gramalign.models.pretrained.load import kinds as kinds
from gramalign.models.pretrained.load import load as load
from gramalign.models.pretrained.published import divide as divide
from gramalign.models.pretrained.tower import Tower as Tower

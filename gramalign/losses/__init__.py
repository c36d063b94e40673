"""Floor 3: losses, one file a paper, as pure functions from embeddings to a value per example."""

from gramalign.losses.anchors import masked_mean, participants
from gramalign.losses.clip import clip
from gramalign.losses.gram import gram
from gramalign.losses.over_mesh import over_mesh
from gramalign.losses.pmrl import pmrl, pmrl_alignment, pmrl_instance
from gramalign.losses.sca import sca
from gramalign.losses.siglip import siglip
from gramalign.losses.simplex import simplex
from gramalign.losses.spectral import spectral
from gramalign.losses.supcon import supcon
from gramalign.losses.triangle import triangle

__all__ = [
    "clip",
    "gram",
    "masked_mean",
    "over_mesh",
    "participants",
    "pmrl",
    "pmrl_alignment",
    "pmrl_instance",
    "sca",
    "siglip",
    "simplex",
    "spectral",
    "supcon",
    "triangle",
]

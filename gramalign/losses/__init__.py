"""Floor 3: losses, one file a paper, as pure functions from embeddings to a value per example.

The mean is the caller's: `.mean()`, or with masks `masked_mean` over the `participants`.
"""

from gramalign.losses.alignment import alignment
from gramalign.losses.barybind import barybind
from gramalign.losses.calmrl import calmrl
from gramalign.losses.centrobind import centrobind
from gramalign.losses.clip import clip
from gramalign.losses.confu import confu, fused_pairs
from gramalign.losses.consistency import consistency
from gramalign.losses.gram import gram
from gramalign.losses.height import height
from gramalign.losses.hypergram import hypergram
from gramalign.losses.kernel_volume import kernel_volume
from gramalign.losses.matching import matching
from gramalign.losses.modality_gap import modality_gap
from gramalign.losses.over_mesh import over_mesh
from gramalign.losses.participants import masked_mean, participants
from gramalign.losses.pmrl import pmrl, pmrl_alignment, pmrl_instance
from gramalign.losses.sca import sca
from gramalign.losses.separation import separation
from gramalign.losses.siglip import siglip
from gramalign.losses.simplex import simplex
from gramalign.losses.spectral import spectral
from gramalign.losses.supcon import supcon
from gramalign.losses.symile import Negatives, symile
from gramalign.losses.triangle import triangle
from gramalign.losses.uniformity import uniformity
from gramalign.losses.vast import fused_rest, vast
from gramalign.losses.vicreg import vicreg

__all__ = [
    "Negatives",
    "alignment",
    "barybind",
    "calmrl",
    "centrobind",
    "clip",
    "confu",
    "fused_pairs",
    "fused_rest",
    "consistency",
    "gram",
    "height",
    "hypergram",
    "kernel_volume",
    "masked_mean",
    "matching",
    "modality_gap",
    "over_mesh",
    "participants",
    "pmrl",
    "pmrl_alignment",
    "pmrl_instance",
    "sca",
    "separation",
    "siglip",
    "simplex",
    "spectral",
    "supcon",
    "symile",
    "triangle",
    "uniformity",
    "vast",
    "vicreg",
]

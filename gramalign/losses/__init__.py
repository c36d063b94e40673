"""Floor 3: losses, one file a paper, as pure functions from embeddings to a value per example."""

from gramalign.losses.anchors import masked_mean, participants
from gramalign.losses.barybind import barybind
from gramalign.losses.centrobind import centrobind
from gramalign.losses.clip import clip
from gramalign.losses.confu import confu, fused_pairs
from gramalign.losses.gram import gram
from gramalign.losses.over_mesh import over_mesh
from gramalign.losses.pmrl import pmrl, pmrl_alignment, pmrl_instance
from gramalign.losses.vast import vast

__all__ = [
    "barybind",
    "centrobind",
    "clip",
    "confu",
    "fused_pairs",
    "gram",
    "masked_mean",
    "over_mesh",
    "participants",
    "pmrl",
    "pmrl_alignment",
    "pmrl_instance",
    "vast",
]

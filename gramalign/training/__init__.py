"""Training: a config goes in, a run folder with a trained model comes out."""

from gramalign.training.config import Config, Layout, Model, Optimizer, Validation
from gramalign.training.config_json import config_from_json, config_to_json
from gramalign.training.embedding import embed_store
from gramalign.training.export import export
from gramalign.training.loop import train
from gramalign.training.microbatch import microbatched
from gramalign.training.own_terms import term_named
from gramalign.training.params_file import load_params, save_params
from gramalign.training.programs import write_programs
from gramalign.training.restore import Run, load_run
from gramalign.training.stopping import Interrupted
from gramalign.training.term import Contrastive, Tempered, Term
from gramalign.training.terms import (
    TERMS,
    Alignment,
    Calmrl,
    Centrobind,
    Clip,
    Confu,
    Consistency,
    Matching,
    ModalityGap,
    Pmrl,
    Sca,
    Separation,
    Siglip,
    Spectral,
    Supcon,
    Symile,
    Uniformity,
    Vast,
    Vicreg,
)
from gramalign.training.volume_terms import (
    Barybind,
    Gram,
    Height,
    Hypergram,
    KernelVolume,
    LogVolume,
    Simplex,
    SquaredVolume,
    Triangle,
)
from gramalign.training.watch import NonFiniteLoss

__all__ = [
    "TERMS",
    "Alignment",
    "Barybind",
    "Calmrl",
    "Centrobind",
    "Clip",
    "Config",
    "Confu",
    "Consistency",
    "Contrastive",
    "Gram",
    "Height",
    "Hypergram",
    "Interrupted",
    "KernelVolume",
    "Layout",
    "LogVolume",
    "Matching",
    "ModalityGap",
    "Model",
    "NonFiniteLoss",
    "Optimizer",
    "Pmrl",
    "Run",
    "Sca",
    "Separation",
    "Siglip",
    "Simplex",
    "Spectral",
    "SquaredVolume",
    "Supcon",
    "Symile",
    "Tempered",
    "Term",
    "Triangle",
    "Uniformity",
    "Validation",
    "Vast",
    "Vicreg",
    "config_from_json",
    "config_to_json",
    "embed_store",
    "export",
    "load_params",
    "load_run",
    "microbatched",
    "save_params",
    "term_named",
    "train",
    "write_programs",
]

"""Floor 0: the geometry of tuples `[..., k, d]`; it knows nothing of modalities or losses."""

from gramalign.geometry.basis import Basis, orthonormal_basis
from gramalign.geometry.gram import gram_matrix
from gramalign.geometry.height import height
from gramalign.geometry.leading import leading_direction
from gramalign.geometry.norms import norm, normalize
from gramalign.geometry.spectrum import decompose, singular_values
from gramalign.geometry.volume import log_volume, volume

__all__ = [
    "Basis",
    "decompose",
    "gram_matrix",
    "height",
    "leading_direction",
    "log_volume",
    "norm",
    "normalize",
    "orthonormal_basis",
    "singular_values",
    "volume",
]

"""gramalign: align any number of modalities in one space, and measure how well they agree.

The geometry of tuples `[..., k, d]` is at the top level. `losses` train, `scores` compare, and
`contrast` computes both without ever holding a full score matrix. An `Index` searches embeddings.
"""

from gramalign import contrast, losses, scores
from gramalign.geometry import leading_direction, log_volume, normalize, singular_values, volume
from gramalign.search import Index
from gramalign.types import Embeddings, Present

__version__ = "0.1.0"

__all__ = [
    "Embeddings",
    "Index",
    "Present",
    "contrast",
    "leading_direction",
    "log_volume",
    "losses",
    "normalize",
    "scores",
    "singular_values",
    "volume",
]

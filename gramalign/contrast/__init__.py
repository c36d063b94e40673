"""Floor 2: the engine that computes with any Score, tile by tile."""

from gramalign.contrast.draw import hard_negatives
from gramalign.contrast.dual_softmax import dual_softmax
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.matrix import score_matrix
from gramalign.contrast.retrieval import ranks, top_k
from gramalign.contrast.rows import rows_at
from gramalign.contrast.sigmoid import sigmoid_contrast
from gramalign.contrast.softmax import contrast

__all__ = [
    "DEFAULT_ENGINE",
    "Engine",
    "contrast",
    "dual_softmax",
    "hard_negatives",
    "ranks",
    "rows_at",
    "score_matrix",
    "sigmoid_contrast",
    "top_k",
]

"""Floor 2: the engine that consumes Scores, tile by tile; it does not know which method it serves."""

from gramalign.contrast.retrieval import ranks, top_k
from gramalign.contrast.softmax import contrast

__all__ = ["contrast", "ranks", "top_k"]

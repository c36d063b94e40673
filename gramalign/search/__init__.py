"""Floor 4: search of embedded examples by any of their modalities, under any Score.

It knows Scores and the engine that goes through their tiles, and nothing of how embeddings were
learned.
"""

from gramalign.search.hits import Hits
from gramalign.search.index import Index

__all__ = ["Hits", "Index"]

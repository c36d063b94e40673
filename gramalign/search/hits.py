"""What a search finds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped


@dataclass(frozen=True, eq=False)
class Hits:
    """The best rows of an index for each query, best first; equal scores in row order.

    A query may have fewer hits than requested, because other rows lack all the modalities that were
    searched, or because the query itself has none; the rest is then padded.

    Attributes:
        ids: `[queries, k]`, "" where there is no hit.
        numbers: `[queries, k]`, rows of the index; -1 where there is no hit.
        scores: `[queries, k]`, larger is better; -inf where there is no hit.
    """

    ids: Shaped[np.ndarray, "queries k"]
    numbers: Int[np.ndarray, "queries k"]
    scores: Float[np.ndarray, "queries k"]

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.numbers)

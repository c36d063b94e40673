"""What a search finds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped


@dataclass(frozen=True, eq=False)
class Hits:
    """The best rows of an index for each query, best first; of equal ones the first row first.

    Where a query has fewer hits than were asked for, since other rows lack all modalities that were
    searched, or since the query itself has none, the rest is filled up.

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

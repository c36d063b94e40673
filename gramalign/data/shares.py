"""Several stores in one: which store each row is from, and each store's share of a batch."""

import dataclasses
import math

import numpy as np
from jaxtyping import Int

from gramalign.counted import counted


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """The stores that a mixture's rows come from.

    Attributes:
        names: of the mixed stores.
        weights: a positive number for each; a store's share of a batch is proportional to it.
        of: number of the store that each row comes from.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    of: Int[np.ndarray, " n"]

    def take(self, rows: Int[np.ndarray, " m"]) -> "Mixture":
        """The mixture of the given rows; all stores keep their numbers."""
        return dataclasses.replace(self, of=self.of[rows])

    def rows(self, number: int) -> Int[np.ndarray, " m"]:
        """The rows of one store."""
        return np.flatnonzero(self.of == number)

    def shares(self, batch_size: int) -> list[int]:
        """How many rows of each store a batch holds, `batch_size` in all.

        In proportion to the weights; where that is not a whole number, the largest remainders are
        rounded up, of equal ones the first.

        Raises:
            ValueError: a store would have no row in a batch, or more rows than it holds.
        """
        weights = np.array(self.weights) / max(self.weights)  # so that their sum cannot overflow
        exact = batch_size * weights / weights.sum()
        shares = np.floor(exact).astype(int)
        shares[np.argsort(shares - exact, kind="stable")[: batch_size - shares.sum()]] += 1
        for number, (name, share) in enumerate(zip(self.names, shares.tolist(), strict=True)):
            part = weights[number] / weights.sum()
            there = len(self.rows(number))
            if not there:
                raise ValueError(f"{name} has no rows here: leave it out of the mixture")
            if not share:
                raise ValueError(
                    f"{name} has {part:.2g} of the weight of the mixture, less than a row of a "
                    f"batch of {batch_size}: give it a larger weight, or a larger batch_size, such "
                    f"as {math.ceil(1 / part)}"
                )
            if share > there:
                raise ValueError(
                    f"{name} has {counted(there, 'row')} here, but by its weight a batch of "
                    f"{batch_size} takes {share}: give it a smaller weight, or a smaller "
                    f"batch_size, such as {math.floor(there / part)}"
                )
        return shares.tolist()

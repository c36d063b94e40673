"""Which rows each batch holds, by the batch's number."""

import functools
import sys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gramalign.data.shares import Mixture


class Order:
    """Endless shuffled epochs of rows, cut into batches.

    Yields whole batches, unlike Grain's own shuffle and batch: those handle rows one by one in
    Python, which takes longer than copying the features.

    Args:
        rows: number of rows.
        batch_size: rows per batch, at most all.
        seed: integers >= 0.
    """

    def __init__(self, rows: int, batch_size: int, seed: Sequence[int]):
        self._about = rows, batch_size, seed
        # Two, for the batch in which one epoch ends and the next begins.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def __reduce__(self):
        return Order, self._about  # another process shuffles anew

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Int[np.ndarray, " b"]:
        rows, batch_size, _ = self._about
        epoch, start = divmod(index * batch_size, rows)
        found = self._permutation(epoch)[start : start + batch_size]
        missing = batch_size - len(found)
        if missing:
            found = np.concatenate([found, self._permutation(epoch + 1)[:missing]])
        return found

    def _shuffle(self, epoch: int) -> np.ndarray:
        rows, _, seed = self._about
        return np.random.default_rng([*seed, epoch]).permutation(rows)


class MixedOrder:
    """Batches that hold each mixed store's share of rows.

    Each store has epochs of its own, and its rows are spread evenly among those of the others, so
    that any part of a batch holds some of all.

    Raises:
        ValueError: as `Mixture.shares`.
    """

    def __init__(self, mixture: Mixture, batch_size: int, seed: int):
        shares = mixture.shares(batch_size)
        self._rows = [mixture.rows(number) for number in range(len(shares))]
        self._orders = [
            Order(len(rows), share, (seed, number))
            for number, (rows, share) in enumerate(zip(self._rows, shares, strict=True))
        ]
        when = [(np.arange(share) + 0.5) / share for share in shares]
        self._evenly = np.argsort(np.concatenate(when), kind="stable")

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Int[np.ndarray, " b"]:
        parts = zip(self._rows, self._orders, strict=True)
        return np.concatenate([rows[order[index]] for rows, order in parts])[self._evenly]

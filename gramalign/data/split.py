"""Splits rows by a hash of their ids: the same everywhere, whatever the order of rows."""

import hashlib

import numpy as np
from jaxtyping import Bool, Int, Shaped


def hash_split(
    ids: Shaped[np.ndarray, " n"], groups: Int[np.ndarray, " n"] | None = None
) -> Shaped[np.ndarray, " n"]:
    """Divides rows into "train" (four fifths) and "test".

    A row is a test row if `int(sha1(id).hexdigest(), 16) % 5 == 0`. With groups, all rows of a
    group follow its first row, so that nothing about a test row is seen in training.

    >>> import numpy as np
    >>> hash_split(np.array(["0", "1", "2", "3", "4", "5", "6", "7"])).tolist()
    ['train', 'train', 'train', 'train', 'test', 'train', 'train', 'train']
    """
    test = [_hash(name) % 5 == 0 for name in _names(ids, groups)]
    return np.where(test, "test", "train")


def held_out(
    ids: Shaped[np.ndarray, " n"], fraction: float, groups: Int[np.ndarray, " n"] | None = None
) -> Bool[np.ndarray, " n"]:
    """Chooses about a fraction of the rows, independently of `hash_split`; groups stay together.

    Raises:
        ValueError: a fraction that is not between 0 and 1.

    >>> import numpy as np
    >>> held_out(np.arange(1000).astype(str), 0.1).sum()
    np.int64(106)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected one from 0 to 1")
    salted = (f"held out {name}" for name in _names(ids, groups))
    return np.array([_hash(name) < fraction * 2**160 for name in salted])


def _names(ids: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The id that decides for each row: its own, or that of its group's first row."""
    names = np.asarray(ids)
    if groups is None:
        return names
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return names[first[group]]


def _hash(name: str) -> int:
    return int(hashlib.sha1(str(name).encode()).hexdigest(), 16)

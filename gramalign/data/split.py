"""Splits rows by a hash of their ids: the same everywhere, whatever the order of single rows.

Of a group the first row decides.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Int, Shaped

from gramalign.host_text import host_text


def hash_split(
    ids: Shaped[np.ndarray, " n"], groups: Int[np.ndarray, " n"] | None = None
) -> Shaped[np.ndarray, " n"]:
    """Divides rows into "train" (four fifths) and "test".

    A row is a test row if `int(sha1(id).hexdigest(), 16) % 5 == 0`, where an integer is hashed as
    its digits. With groups, all rows of a group follow its first row, so that nothing about a test
    row is seen in training.

    Raises:
        ValueError: ids that are neither strings nor integers, or not as many groups.

    >>> import numpy as np
    >>> hash_split(np.arange(8)).tolist()
    ['train', 'train', 'train', 'train', 'test', 'train', 'train', 'train']
    """
    test = [_hash(name) % 5 == 0 for name in _names(ids, groups)]
    return np.where(test, "test", "train")


def held_out(
    ids: Shaped[np.ndarray, " n"], fraction: float, groups: Int[np.ndarray, " n"] | None = None
) -> Bool[np.ndarray, " n"]:
    """Chooses about a fraction of the rows, independently of `hash_split`; groups stay together.

    Raises:
        ValueError: a fraction that is not between 0 and 1, or as `hash_split`.

    >>> import numpy as np
    >>> held_out(np.arange(1000).astype(str), 0.1).sum()
    np.int64(106)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected one from 0 to 1")
    salted = (f"held out {name}" for name in _names(ids, groups))
    return np.array([_hash(name) < fraction * 2**160 for name in salted], bool)


def _names(ids: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The id that decides for each row: its own, or that of its group's first row."""
    names = host_text(ids)
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8")
    if names.dtype.kind not in "iuU" or names.ndim != 1:
        raise ValueError(
            f"ids: got {names.dtype} {names.shape}, expected one string or integer for each row; "
            "convert other types to text, .astype(str)"
        )
    names = names.astype(np.str_)
    if groups is None:
        return names
    if np.shape(groups) != names.shape:
        raise ValueError(f"groups: got {np.shape(groups)}, expected one for each id, {names.shape}")
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return names[first[group]]


def _hash(name: str) -> int:
    return int(hashlib.sha1(name.encode()).hexdigest(), 16)

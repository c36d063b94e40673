"""Train and test rows by a hash of their names: the same everywhere, whatever the order of rows."""

import hashlib

import numpy as np
from jaxtyping import Int, Shaped


def hash_split(
    ids: Shaped[np.ndarray, " n"], groups: Int[np.ndarray, " n"] | None = None
) -> Shaped[np.ndarray, " n"]:
    """Divides rows into "train" (four fifths) and "test".

    A row is a test row if `int(sha1(id).hexdigest(), 16) % 5 == 0`. With groups, all rows of a
    group follow its first row, so that nothing of a test row is seen in training.

    >>> import numpy as np
    >>> hash_split(np.array(["0", "1", "2", "3", "4", "5", "6", "7"])).tolist()
    ['train', 'train', 'train', 'train', 'test', 'train', 'train', 'train']
    """
    names = np.asarray(ids)
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        names = names[first[group]]
    test = [int(hashlib.sha1(str(name).encode()).hexdigest(), 16) % 5 == 0 for name in names]
    return np.where(test, "test", "train")

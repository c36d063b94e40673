"""Labels of any type as numbers: whatever says which rows are of one group, or of one class."""

from typing import Any

import numpy as np
from jaxtyping import Array, Integer, Shaped

from gramalign.counted import counted


def numbered(
    labels: Shaped[np.ndarray | Array, " _examples"], examples: int, argument: str
) -> Integer[np.ndarray, " examples"]:
    """Labels as numbers from 0, in sorted order.

    Args:
        labels: `[examples]` of any type that can be sorted.
        examples: how many there must be.
        argument: what they are called in an error.

    Returns:
        int32, equal where labels are.

    Raises:
        ValueError: another number of labels, None or NaN among them, or labels that cannot be
            compared with each other.
    """
    # NumPy would make text of a list that mixes it with numbers or with NaN.
    given = np.asarray(labels, None if hasattr(labels, "dtype") else object)
    if given.shape != (examples,):
        raise ValueError(
            f"{argument}: got shape {given.shape}, expected ({examples},), one per example"
        )
    if given.dtype == object:
        none = np.array([_is_none(label) for label in given], bool)
    else:
        none = given != given  # NaN, or NaT
    if none.any():
        row = int(np.argmax(none))
        raise ValueError(
            f"{argument}: row {row} has {given[row]} ({counted(int(none.sum()), 'such row')}), "
            "which are not all one label; give each of these rows one of its own, or leave them out"
        )
    try:
        return np.unique(given, return_inverse=True)[1].astype(np.int32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{argument}: {error}; expected labels of one type, such as all names or all numbers"
        ) from None


def _is_none(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except (TypeError, ValueError):  # pandas' NA is not even different from itself
        return not hasattr(label, "__len__")

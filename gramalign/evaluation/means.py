"""Means of figures, some of which may be unknown (NaN)."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped


def mean(values: Sequence[float] | Shaped[np.ndarray, " n"]) -> float:
    """Mean of the values that are not NaN; NaN if all are.

    >>> mean([1.0, float("nan"), 3.0])
    2.0
    """
    found = np.asarray(values)
    known = found[~np.isnan(found)]
    return float(known.mean()) if known.size else math.nan

"""Types that every floor uses: embeddings by modality, which are present, and what tells."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Array, Bool, Float, Int

Embeddings = Mapping[str, Float[np.ndarray | Array, "batch dim"]]
"""One unit-length row per example and modality; row i of every modality belongs to example i.

Each is a JAX or a NumPy array."""

Present = Mapping[str, Bool[np.ndarray | Array, " batch"]]
"""True where an example has the modality; a modality without an entry is present everywhere."""

Groups = Int[np.ndarray | Array, " batch"]
"""One integer per example; those with equal ones show the same thing, or are of one class."""

Say = Callable[[str], object]
"""Takes a progress message, one line."""

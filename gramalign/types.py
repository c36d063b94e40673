"""Types that every floor uses: embeddings by modality, which are present, and what tells."""

from collections.abc import Callable, Mapping

from jaxtyping import Array, Bool, Float

Embeddings = Mapping[str, Float[Array, "batch dim"]]
"""One unit-length row per example and modality; row i of every modality belongs to example i."""

Present = Mapping[str, Bool[Array, " batch"]]
"""True where an example has the modality; a modality without an entry is present everywhere."""

Say = Callable[[str], object]
"""Takes a progress message, one line."""

"""The two mappings that every floor uses: embeddings by modality, and which are present."""

from collections.abc import Mapping

from jaxtyping import Array, Bool, Float

Embeddings = Mapping[str, Float[Array, "batch dim"]]
"""One unit-length row per example and modality; row i of every modality belongs to example i."""

Present = Mapping[str, Bool[Array, " batch"]]
"""True where an example has the modality; a modality without an entry is present everywhere."""

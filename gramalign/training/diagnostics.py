"""What to watch while a space is learned: are matched tuples flat, and mismatched ones not?"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign import geometry, losses
from gramalign.types import Embeddings, Present


def diagnostics(embeddings: Embeddings, present: Present) -> dict[str, Float[Array, ""]]:
    """Means over the tuples of a batch that have two modalities or more.

    Args:
        embeddings: unit rows of each modality.
        present: which rows are present, for every modality.

    Returns:
        `matched_volume`; `mismatched_volume`, where the first modality comes from the next
        example; `leading_share`, the part of a tuple's squared length that lies along its leading
        direction, from 1/k (orthogonal) to 1 (parallel).
    """
    modalities = sorted(embeddings)
    vectors = jnp.stack([embeddings[modality] for modality in modalities], axis=1)
    here = jnp.stack([present[modality] for modality in modalities], axis=1)
    rolled = vectors.at[:, 0].set(jnp.roll(vectors[:, 0], 1, axis=0))
    rolled_here = here.at[:, 0].set(jnp.roll(here[:, 0], 1))

    spectrum = geometry.singular_values(vectors, here) ** 2
    # Where nothing is present every value is zero, and the tuple takes no part.
    share = spectrum[:, 0] / jnp.maximum(spectrum.sum(axis=1), 1e-12)
    whole = here.sum(axis=1) >= 2
    mismatched = rolled_here[:, 0] & rolled_here[:, 1:].any(axis=1)
    # One call for both: a volume takes a second to compile, and a moment to compute.
    both = jnp.concatenate([vectors, rolled]), jnp.concatenate([here, rolled_here])
    matched_volume, mismatched_volume = jnp.split(geometry.volume(*both), 2)
    return {
        "matched_volume": losses.masked_mean(matched_volume, whole),
        "mismatched_volume": losses.masked_mean(mismatched_volume, mismatched),
        "leading_share": losses.masked_mean(share, whole),
    }

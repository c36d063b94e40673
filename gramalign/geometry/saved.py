"""What `jax.checkpoint` saves where it computes the rest anew for a derivative.

The few numbers an example that take most of the work: what shears, scales and turns its tuple, and
what it gathers from all others.
"""

import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Shaped

_NAME = "gramalign.geometry.saved"

SAVE = jax.checkpoint_policies.save_only_these_names(_NAME)
"""A policy of `jax.checkpoint`."""


def saved(x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """The same, marked as one of those numbers."""
    return checkpoint_name(x, _NAME)

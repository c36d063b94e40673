"""What `jax.checkpoint` saves while it recomputes the rest for a derivative.

The few numbers per example that take most of the work: shear, scales and rotation of its tuple, and
its statistics over all others.
"""

import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Shaped

_NAME = "gramalign.geometry.saved"

SAVE = jax.checkpoint_policies.save_only_these_names(_NAME)
"""A policy for `jax.checkpoint`: save these numbers, recompute the rest."""


def saved(x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """The same array, marked to be saved."""
    return checkpoint_name(x, _NAME)

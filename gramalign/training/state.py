"""The state that a training step updates."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray, PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that changes in training, as one pytree: what a checkpoint holds.

    Its leaves are arrays, or whatever `jax.tree.map` puts in their place.
    """

    step: Any
    """Updates made so far, an int32 scalar."""
    params: PyTree
    """Nested dict of arrays."""
    opt_state: optax.OptState
    rng: Any
    """A key that never changes: each step folds its number in, so a resumed run draws the same."""
    skipped: Any
    """Steps so far whose update was left out, an int32 scalar."""


def init_state(params: PyTree, tx: optax.GradientTransformation, rng: PRNGKeyArray) -> TrainState:
    """The state before the first step."""
    none, yet = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # each a buffer to donate
    return TrainState(none, params, tx.init(params), rng, yet)


def lying(leaf: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    """The abstract shape of an array with a sharding."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

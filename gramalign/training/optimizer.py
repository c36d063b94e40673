"""The optimiser of a run, composed from optax."""

import jax
import optax
from jaxtyping import PyTree

from gramalign.training.config import Optimizer
from gramalign.training.optimizer_named import optimizer_named


def make_optimizer(config: Optimizer, steps: int) -> optax.GradientTransformation:
    """An optimiser with clipped gradients, linear warm-up and cosine decay to zero over `steps`."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_of(steps),
        decay_steps=steps,
    )
    named = optimizer_named(config.kind)
    decay = {"weight_decay": config.weight_decay, named.mask: _matrices} if named.mask else {}
    made = named.make.found(learning_rate=schedule, **named.make.settings, **decay)
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"Optimizer.kind is {config.kind!r}, which makes a {type(made).__name__}, expected an "
            "optax.GradientTransformation"
        )
    return _standard_promotion(optax.chain(optax.clip_by_global_norm(config.clip_norm), made))


def _matrices(params: PyTree) -> PyTree:
    """Which parameters decay: only matrices; for biases and learned numbers, 0 is not simpler."""
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def _standard_promotion(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Lets optax mix its integer counts with floats even if the caller made promotion strict."""

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return tx.update(updates, state, params)

    return optax.GradientTransformation(tx.init, update)

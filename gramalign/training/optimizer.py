"""The optimiser of a run, composed from optax."""

from typing import Any

import jax
import optax
from jaxtyping import PyTree

from gramalign.imported import placed
from gramalign.training.config import Optimizer
from gramalign.training.optimizer_named import optimizer_named
from gramalign.training.rates import rated


def make_optimizer(config: Optimizer, steps: int) -> optax.GradientTransformation:
    """An optimiser with clipped gradients, linear warm-up and cosine decay to zero over `steps`.

    Raises:
        ValueError: `config.kind` makes something else; when called, its update returns other shapes
            than those of the parameters, or a state unlike the one before.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_of(steps),
        decay_steps=max(steps, 1),  # 0: it is never asked
    )
    chosen = optimizer_named(config.kind)
    decay = {"weight_decay": config.weight_decay, chosen.mask: _matrices} if chosen.mask else {}
    rate = "whose learning_rate is a schedule, a function of the step"
    with placed(chosen.make.found, f"in making {config.kind}, {rate}"):
        made = chosen.make.found(learning_rate=schedule, **chosen.make.settings, **decay)
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"Optimizer.kind is {config.kind!r}, which makes a {type(made).__name__}, expected an "
            "optax.GradientTransformation"
        )
    made = _checked(made, config.kind, chosen.make.found)
    factors = (rated(config.rates),) if config.rates else ()
    return _standard_promotion(
        optax.chain(optax.clip_by_global_norm(config.clip_norm), made, *factors)
    )


def _checked(tx: optax.GradientTransformation, kind: str, found: Any) -> Any:
    """Complains while the step is traced, where its compilation or a checkpoint would later."""
    gets = f"in {kind}, which is given gradients, state and parameters, but no value of the loss"

    def init(params):
        with placed(found, f"in {kind}"):
            return tx.init(params)

    def update(updates, state, params=None):
        with placed(found, gets):
            new, after = tx.update(updates, state, params)
        for what, one, other in (("updates", new, updates), ("a state", after, state)):
            changed = sorted(_shapes(one).items() ^ _shapes(other).items())
            if changed:
                raise ValueError(
                    f"Optimizer.kind is {kind!r}, whose update returns {what} unlike those it "
                    f"gets, at {changed[0][0] or 'the root'}: expected the same names, shapes and "
                    "dtypes"
                )
        return new, after

    return optax.GradientTransformation(init, update)


def _shapes(tree: PyTree) -> dict[str, str]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jax.typeof(x).str_short() for path, x in leaves}


def _matrices(params: PyTree) -> PyTree:
    """Which parameters decay: only matrices; for biases and learned numbers, 0 is not simpler."""
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def _standard_promotion(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Lets optax mix its integer counts with floats even if the caller made promotion strict."""

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return tx.update(updates, state, params)

    return optax.GradientTransformation(tx.init, update)

"""The jitted training step."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PyTree

from gramalign.models.linear import HIDDEN, PRODUCT
from gramalign.training.augment import augmented, load_augment
from gramalign.training.config import Config
from gramalign.training.diagnostics import diagnostics
from gramalign.training.layout import gathered, of_batches, shardings
from gramalign.training.microbatch import microbatched
from gramalign.training.objective import objective
from gramalign.training.state import TrainState

Metrics = dict[str, Array]
Step = Callable[[TrainState, PyTree, Any], tuple[TrainState, Metrics]]


_AUGMENTING, _DRAWING = np.uint32(2**32 - 1), np.uint32(2**32 - 2)
"""What is folded into a step's key for other ends than dropout: no numbers of rows."""


class Batch(TypedDict):
    """A batch as the data pipeline yields it."""

    features: Mapping[str, Float[Any, "batch _"]]
    present: Mapping[str, Bool[Any, " batch"]]
    groups: Int[Any, " batch"]
    labels: NotRequired[Int[Any, " batch"]]


def batch_like(config: Config, dims: Mapping[str, int]) -> Batch:
    """The shapes of a run's batches, given the width of each modality's features."""
    size = config.batch_size
    numbers = jax.ShapeDtypeStruct((size,), jnp.int32)
    batch: Batch = {
        "features": {
            name: jax.ShapeDtypeStruct((size, width), jnp.float32) for name, width in dims.items()
        },
        "present": {name: jax.ShapeDtypeStruct((size,), jnp.bool) for name in dims},
        "groups": numbers,
    }
    if any(term.needs_labels for term in config.terms.values()):
        batch["labels"] = numbers
    return batch


def is_logged(step, config: Config):
    """Whether a step, counted from 1, writes a line of the log; also works on traced steps."""
    return (step % config.log_every == 0) | (step == config.steps)


def make_step(
    config: Config,
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    mesh: Mesh,
) -> Step:
    """Compiles one update of the parameters.

    Args:
        config: the run; its seed and data do not enter the program.
        graphdef: the model's structure.
        tx: the optimiser.
        mesh: the devices, from `gramalign.training.layout`.

    Returns:
        `step(state, fixed, batch) -> (state, metrics)`, where fixed are the model's variables that
        are not trained. The old state is donated: its buffers become the new
        state's. If loss, gradient or update is not finite, only the step and the count of skipped
        steps change. Metrics are scalars: `loss`, `loss/<term>`, `<number>/<term>` of each learned
        number, `grad_norm` and `grad_norm/<modality>` of its tower, if that is trained, `skipped`;
        the diagnostics, which are computed at logged steps only and zero at others; and, not
        logged, `finite` (loss, gradient and update) and `finite/<modality>` of its embeddings.
    """
    augment = None if config.augment is None else load_augment(config.augment)

    def loss(params, fixed, batch, dropout_key):
        def used():
            return nnx.merge(graphdef, *(gathered(x, config, mesh) for x in (params, fixed)))

        def encode(part):
            features, present, rows = part
            keys = jax.vmap(jax.random.fold_in, (None, 0))(dropout_key, rows)
            return used().encoder(features, present, dropout_keys=keys)

        if config.model.remat or mesh.shape["fsdp"] > 1:
            # Gathered parameters are not kept either: they are gathered again.
            kept = HIDDEN if config.model.remat else PRODUCT
            policy = jax.checkpoint_policies.save_only_these_names(kept)
            encode = jax.checkpoint(encode, policy=policy)
        model, size = used(), config.microbatch
        embed = encode if size is None else microbatched(encode, size)
        rows = jnp.arange(batch["groups"].shape[0])
        embeddings = embed((batch["features"], batch["present"], rows))
        total, terms = objective(
            embeddings,
            present=batch["present"],
            groups=batch["groups"],
            labels=batch.get("labels"),
            learned=model.terms,
            key=jax.random.fold_in(dropout_key, _DRAWING),
            config=config,
            mesh=mesh,
        )
        for name, learned in model.terms.items():
            terms |= {f"{number}/{name}": x for number, x in learned.settings().items()}
        return total, (terms, embeddings)

    def update(state: TrainState, fixed: PyTree, batch: Batch) -> tuple[TrainState, Metrics]:
        count = state.step + 1
        dropout_key = jax.random.fold_in(state.rng, state.step)
        if augment is not None:
            key = jax.random.fold_in(dropout_key, _AUGMENTING)
            features, present = augmented(augment, key, batch["features"], batch["present"])
            batch = {**batch, "features": features, "present": present}
        gradient = jax.value_and_grad(loss, has_aux=True)
        (total, (terms, embeddings)), grads = gradient(state.params, fixed, batch, dropout_key)
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        finite = jnp.isfinite(total) & jnp.isfinite(grad_norm)
        for leaf in jax.tree.leaves(params):
            finite &= jnp.isfinite(leaf).all()
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        skipped = state.skipped + (~finite).astype(jnp.int32)
        watch = jax.lax.cond(
            is_logged(count, config),
            diagnostics,
            lambda *inputs: jax.tree.map(jnp.zeros_like, jax.eval_shape(diagnostics, *inputs)),
            embeddings,
            batch["present"],
        )
        towers = grads.get("encoder", {}).get("towers", {})
        metrics = {
            **{"loss": total, **terms, "grad_norm": grad_norm, "skipped": skipped, **watch},
            **{f"grad_norm/{name}": optax.tree.norm(tower) for name, tower in towers.items()},
            "finite": finite,
            **{f"finite/{name}": jnp.isfinite(x).all() for name, x in embeddings.items()},
        }
        state = TrainState(count, params, opt_state, state.rng, skipped)
        state = jax.lax.with_sharding_constraint(state, shardings(config.layout, mesh, state))
        return state, metrics

    def step(state: TrainState, fixed: PyTree, batch: Batch) -> tuple[TrainState, Metrics]:
        # The engine depends on the platform; on one device nothing else tells it of the mesh.
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return update(state, fixed, batch)

    return jax.jit(step, donate_argnums=0, in_shardings=(None, None, of_batches(mesh)))

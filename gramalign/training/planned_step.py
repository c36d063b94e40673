"""A training step compiled for devices that are not there, from the shapes of its inputs alone."""

from collections.abc import Mapping

import jax
from jax.sharding import Mesh

from gramalign.training.config import Config
from gramalign.training.layout import check_batch, of_batches, shardings
from gramalign.training.model import abstract_model, split
from gramalign.training.optimizer import make_optimizer
from gramalign.training.state import init_state, lying
from gramalign.training.step import batch_like, make_step


def trace_step(config: Config, dims: Mapping[str, int], mesh: Mesh) -> jax.stages.Traced:
    """Traces the step that `train` runs on a mesh, without allocating its arrays.

    Args:
        config: the run.
        dims: width of each modality's features.
        mesh: the devices, from `gramalign.training.layout`.

    Raises:
        ValueError: a batch that is not divisible by the number of devices, or as `split`.
    """
    check_batch(config.batch_size, mesh)
    graphdef, params, fixed = split(abstract_model(config, dims), config.optimizer.rates)
    tx = make_optimizer(config.optimizer, config.steps)
    state = jax.eval_shape(lambda p, key: init_state(p, tx, key), params, jax.random.key(0))
    step = make_step(config, graphdef, tx, mesh)
    batch = batch_like(config, dims)
    # The engine depends on the platform, and on one device nothing else tells it of the mesh.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return step.trace(
            jax.tree.map(lying, state, shardings(config.layout, mesh, state)),
            jax.tree.map(lying, fixed, shardings(config.layout, mesh, fixed)),
            jax.tree.map(lambda leaf: lying(leaf, of_batches(mesh)), batch),
        )

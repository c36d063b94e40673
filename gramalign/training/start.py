"""The state that a run starts from, made where it will lie."""

from collections.abc import Mapping

import jax
from flax import nnx
from jax.sharding import Mesh

from gramalign.training.config import Config
from gramalign.training.layout import shardings
from gramalign.training.model import Model, abstract_model, split
from gramalign.training.moments import Moments
from gramalign.training.optimizer import make_optimizer
from gramalign.training.state import TrainState, init_state, lying


class Start:
    """A run's model and optimiser, and the state before its first step.

    Args:
        config: the run.
        dims: width of each modality's features.
        measured: `(mean, std)` of each modality's training rows.
        mesh: the devices; every one makes its part of the state, and never holds the rest.

    Attributes:
        graphdef: the model's structure.
        statistics: its variables that are not trained, on the host.
        tx: the optimiser.
        abstract: shapes, dtypes and shardings of the state.
    """

    def __init__(
        self, config: Config, dims: Mapping[str, int], measured: Mapping[str, Moments], mesh: Mesh
    ):
        init_key, run_key = jax.random.split(jax.random.key(config.seed))

        def build():
            model = Model(config, dims, measured, rngs=nnx.Rngs(params=init_key))
            _, params, statistics = split(model)
            return init_state(params, self.tx, run_key), statistics

        self.tx = make_optimizer(config.optimizer, config.steps)
        self.graphdef, _, _ = split(abstract_model(config, dims))
        # Compiled apart, so that no parameter is made for them.
        self.statistics = jax.device_get(jax.jit(lambda: build()[1])())
        like, _ = jax.eval_shape(build)
        self.abstract: TrainState = jax.tree.map(lying, like, shardings(config.layout, mesh, like))
        where = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        self._init = jax.jit(lambda: build()[0], out_shardings=where)

    def state(self) -> TrainState:
        """The state before the first step."""
        return self._init()

"""The state that a run starts from, made where it will lie."""

import logging
from collections.abc import Mapping

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree

from gramalign.files import write_text
from gramalign.training.config import Config
from gramalign.training.layout import shardings
from gramalign.training.model import Model, abstract_model, split
from gramalign.training.moments import Moments
from gramalign.training.optimizer import make_optimizer
from gramalign.training.params_file import load_params, save_params
from gramalign.training.processes import is_first_process, meet
from gramalign.training.run_folder import RunFolder
from gramalign.training.state import TrainState, init_state, lying
from gramalign.training.warm_start import warm_start

_log = logging.getLogger(__name__)


class Start:
    """A run's model and optimiser, and the state before its first step.

    Args:
        config: the run.
        dims: width of each modality's features.
        measured: `(mean, std)` of each modality's training rows; None: they were measured when the
            run began, and its folder keeps them.
        mesh: the devices; every one makes its part of the state, and never holds the rest.
        folder: of the run.

    Attributes:
        dims: as given.
        graphdef: the model's structure.
        tx: the optimiser.
        abstract: shapes, dtypes and shardings of the state.
        statistics: the variables that are not trained, on the host.
    """

    def __init__(
        self,
        config: Config,
        dims: Mapping[str, int],
        measured: Mapping[str, Moments] | None,
        mesh: Mesh,
        folder: RunFolder | None = None,
    ):
        init_key, run_key = jax.random.split(jax.random.key(config.seed))

        def build():
            model = Model(config, dims, measured, rngs=nnx.Rngs(params=init_key))
            _, params, statistics = split(model)
            return init_state(params, self.tx, run_key), statistics

        self._source, self._folder = config.start_from, folder
        self.dims = dict(dims)
        self.tx = make_optimizer(config.optimizer, config.steps)
        self.graphdef, _, _ = split(abstract_model(config, dims))
        like, statistics = jax.eval_shape(build)
        if measured is None and folder is not None:
            self.statistics = load_params(folder.statistics, statistics)
        else:
            # Compiled apart, so that no parameter is made for them.
            self.statistics: PyTree = jax.device_get(jax.jit(lambda: build()[1])())
        self.abstract: TrainState = jax.tree.map(lying, like, shardings(config.layout, mesh, like))
        where = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        self._init = jax.jit(lambda: build()[0], out_shardings=where)

    def state(self) -> TrainState:
        """The state before the first step; the folder keeps the statistics.

        If the run starts from another's weights, what came of each array is told and written, and
        statistics may be the other's.

        Raises:
            OSError, ValueError: as `warm_start`.
        """
        state, matched = self._init(), None
        if self._source is not None:
            state, self.statistics, matched = warm_start(state, self.statistics, self._source)
        if self._folder is not None:
            if is_first_process():
                if matched is not None:
                    _log.info("starts from %s", matched)
                    write_text(self._folder.matched, matched.to_json())
                save_params(self._folder.statistics, self.statistics, {})
            meet("started")
        return state

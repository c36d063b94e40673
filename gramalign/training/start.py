"""The initial state of a run, created directly on its devices."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree

from gramalign.files import write_text
from gramalign.training.config import Config, Optimizer
from gramalign.training.config import Model as ModelConfig
from gramalign.training.layout import of_batches, shardings
from gramalign.training.made_of import MADE_OF, check_made_of
from gramalign.training.model import Model, abstract_model, split, weights_of
from gramalign.training.moments import Moments
from gramalign.training.optimizer import make_optimizer
from gramalign.training.params_file import content_digest, load_params, read_about, save_params
from gramalign.training.processes import check_alike, is_first_process, meet, together
from gramalign.training.run_folder import RunFolder
from gramalign.training.state import TrainState, init_state, lying
from gramalign.training.step import Batch, Step, batch_like, make_step
from gramalign.training.warm_start import check_some, match, replaced, warm_start

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Programs:
    """The parts shared by runs that differ only in their seed and statistics."""

    model: Model
    """With shapes in the place of arrays; making it takes long where encoders are large."""
    graphdef: nnx.GraphDef
    abstract: TrainState
    fixed: PyTree
    batch: Batch
    """As the step is called with: of these three, shapes, dtypes and shardings."""
    initial: Callable[[np.uint32], TrainState]
    step: Step

    def trace(self) -> jax.stages.Traced:
        """Traces the step, without allocating its arrays."""
        return self.step.trace(self.abstract, self.fixed, self.batch)


class Start:
    """A run's model and its training step, and the state before the first step.

    Args:
        config: the run.
        dims: width of each modality's features.
        measured: `(mean, std)` of each modality's training rows; None: they were measured when the
            run began, and its folder has them.
        programs: from `make_programs`, for this run.
        folder: of the run.
        trained_on: digest of the rows.
        started_from: digest of the weights that `config` starts from.

    Raises:
        OSError, ValueError: as `match` and `check_some`, if the run starts from another's weights.
        ValueError: towers that do not what they should; whatever they raise.

    Attributes:
        dims: as given.
        model: with shapes in the place of arrays.
        graphdef: the model's structure.
        abstract: shapes, dtypes and shardings of the state.
        fixed: the variables that are not trained, on the host.
        step: from `make_step`; shared by consecutive runs that differ only in their seed.
    """

    def __init__(
        self,
        config: Config,
        dims: Mapping[str, int],
        measured: Mapping[str, Moments] | None,
        programs: Programs,
        folder: RunFolder | None = None,
        trained_on: str | None = None,
        started_from: str | None = None,
    ):
        self._config, self._folder, self._trained_on = config, folder, trained_on
        self._started_from = started_from
        seed = np.uint32(config.seed)
        self._initial = functools.partial(programs.initial, seed)
        self.dims, self.model = dict(dims), programs.model
        self.graphdef, self.abstract = programs.graphdef, programs.abstract
        self.step = programs.step
        # Once, as a run that is trained needs its encoders' folders no more.
        self._made_of = {MADE_OF: self.model.encoder.made_of()}
        self._weights: dict[str, np.ndarray] | None = None
        if measured is None and folder is not None:
            self.fixed: PyTree = _untrained(folder.fixed, programs.fixed)
            check_made_of(folder.fixed, read_about(folder.fixed), self.model)
        else:
            _check_start(config, self.model, self.abstract.params, programs.fixed)
            self._weights = self._brought()  # now, as whatever they raise comes before any folder
            # Compiled, so that no other parameter is made for them.
            self.fixed = jax.device_get(
                jax.jit(lambda seed: _variables(config, dims, measured, _keys(seed)[0])[1])(seed)
            )

    @property
    def about(self) -> dict[str, Any]:
        """The metadata of the model's file, as JSON-compatible values."""
        config = dataclasses.asdict(self._config)
        about = {"config": config, "dims": self.dims, "trained_on": self._trained_on}
        return about | self._made_of

    def state(self) -> TrainState:
        """The state before the first step; writes what is not trained to the folder.

        Towers may bring weights of their own. If the run starts from another's, which come last,
        logs and writes what happened to each array; what is not trained may then be the other's.

        Raises:
            OSError, ValueError: as `warm_start`.
        """
        state, matched = self._initial(), None
        weights, self._weights = self._weights, None
        if weights is None:  # a run that was stopped before its first checkpoint
            weights = self._brought()
        state = dataclasses.replace(state, params=replaced(state.params, weights))
        self.fixed = replaced(self.fixed, weights)
        if self._config.start_from is not None:
            state, self.fixed, matched = warm_start(state, self.fixed, self._config)
        if self._folder is not None:
            if is_first_process():
                if matched is not None:
                    _log.info("starting from %s", matched)
                    write_text(self._folder.matched, matched.to_json())
                # As checkpoints have digests, which do not hold what is not trained.
                digest = content_digest(self.fixed)
                about = {"trained_on": self._trained_on, "started_from": self._started_from}
                about |= {"digest": digest} | self._made_of
                save_params(self._folder.fixed, self.fixed, about)
            meet("started")
        return state

    def _brought(self) -> dict[str, np.ndarray]:
        """The weights that towers bring."""
        if self._config.model.tower == ModelConfig.tower:
            return {}
        with together():
            found = self.model.encoder.initial_weights()
        weights = {f"encoder.{name}": array for name, array in found.items()}
        if jax.process_count() > 1:
            told = content_digest(weights, repr(self._made_of))
            check_alike({"initial weights of towers": told})
        return weights


def check_model(config: Config, dims: Mapping[str, int]) -> None:
    """Raises what a run's model would before the first step, without compiling anything.

    Args:
        config: the run.
        dims: width of each modality's features.

    Raises:
        OSError, ValueError: as `Start`.
    """
    model = abstract_model(config, dims)
    _, params, fixed = split(model, config.optimizer.rates, trained=config.steps > 0)
    _check_start(config, model, params, fixed)


def _check_start(config: Config, model: Model, params: PyTree, fixed: PyTree) -> None:
    if config.start_from is not None:
        matched = match(params, fixed, config)
        if not config.freeze:
            check_some(matched, weights_of(model))


def make_programs(config: Config, dims: Mapping[str, int], mesh: Mesh) -> Programs:
    """What a run computes; traced and compiled when it is first called.

    Args:
        config: the run; the last one's programs are given again where only the seed differs.
        dims: width of each modality's features.
        mesh: the devices; each one makes its part of the state, and never holds the rest.

    Raises:
        ValueError: towers or an optimiser that do not what they should; whatever they raise.
    """
    programs = _programs if _fixed(config) else _programs.__wrapped__
    return programs(dataclasses.replace(config, seed=0), tuple(sorted(dims.items())), mesh)


def try_out(config: Config, programs: Programs) -> None:
    """Traces what may be the user's, before the run's folder is touched.

    The step is not traced again when it is first called. Towers as in evaluation too, or their
    mistakes would come up once the training is over.

    Args:
        config: the run.
        programs: from `make_programs`, for this run.

    Raises:
        ValueError: losses, towers or an optimiser that do not what they should; whatever they
            raise.
    """
    if _fixed(config):
        return

    def embed(params, fixed, features):
        return nnx.merge(programs.graphdef, params, fixed).encoder(features)

    jax.eval_shape(embed, programs.abstract.params, programs.fixed, programs.batch["features"])
    if config.steps:
        programs.trace()


def _untrained(path: Path, like: PyTree) -> PyTree:
    """What a run wrote when it began.

    Raises:
        ValueError: as `load_params`, or arrays that are not those that were written.
    """
    fixed = load_params(path, like)
    digest = content_digest(fixed)
    if read_about(path).get("digest", digest) != digest:
        raise ValueError(
            f"{path} is damaged: its arrays are not what was written; copy it again, or begin anew "
            "with --overwrite"
        )
    return fixed


def _fixed(config: Config) -> bool:
    """Whether a config names nothing of a user's own, which may have been defined anew since."""
    made_by = (config.model.tower, config.optimizer.kind)
    named = any(":" in f"{name} {term}" for name, term in config.terms.items())
    return config.augment is None and made_by == (ModelConfig.tower, Optimizer.kind) and not named


@functools.lru_cache(maxsize=1)
def _programs(config: Config, dims: tuple[tuple[str, int], ...], mesh: Mesh) -> Programs:
    """Cached for the last run."""
    tx = make_optimizer(config.optimizer, config.steps)

    def initial(seed):
        init_key, run_key = _keys(seed)
        params, _ = _variables(config, dict(dims), None, init_key)
        return init_state(params, tx, run_key)

    model = abstract_model(config, dict(dims))
    graphdef, params, fixed = split(model, config.optimizer.rates, trained=config.steps > 0)
    like = jax.eval_shape(lambda p, key: init_state(p, tx, key), params, jax.random.key(0))
    where = shardings(config.layout, mesh, like)
    batch = batch_like(config, dict(dims))
    if not of_batches(mesh).is_fully_addressable:  # else they are host arrays
        batch = jax.tree.map(lambda leaf: lying(leaf, of_batches(mesh)), batch)
    return Programs(
        model,
        graphdef,
        abstract=jax.tree.map(lying, like, where),
        fixed=jax.tree.map(lying, fixed, shardings(config.layout, mesh, fixed)),
        batch=batch,
        initial=jax.jit(initial, out_shardings=where),
        step=make_step(config, graphdef, tx, mesh),
    )


def _keys(seed) -> tuple[jax.Array, jax.Array]:
    """That of the initial weights, and the run's own."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    return init_key, run_key


def _variables(config, dims, measured, key) -> tuple[PyTree, PyTree]:
    """A new model's variables: those that are trained, and those that are not."""
    model = Model(config, dims, measured, rngs=nnx.Rngs(key))
    _, params, fixed = split(model, config.optimizer.rates, trained=config.steps > 0)
    return params, fixed

"""The training loop."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from gramalign.data import FeatureStore, load
from gramalign.training.checkpoint import Checkpoints
from gramalign.training.config import Config
from gramalign.training.input import Data
from gramalign.training.layout import check_batch, mesh_of
from gramalign.training.live import Report, live
from gramalign.training.metrics import MetricsLog
from gramalign.training.moments import Moments, moments, varied
from gramalign.training.params_file import save_params
from gramalign.training.processes import is_first_process, meet, on_host
from gramalign.training.restore import Run, load_run
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import Start
from gramalign.training.state import TrainState
from gramalign.training.step import Metrics, make_step
from gramalign.training.stopping import Interrupted, stop_signal
from gramalign.training.watch import Watch

_log = logging.getLogger(__name__)


def train(
    config: Config,
    out: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Report | None = None,
) -> Run:
    """Trains a model on the training part of a feature store.

    Args:
        config: the run.
        out: its folder: `config.json`, `environment.json`, `metrics.jsonl`, `checkpoints/`, and
            in the end `params.safetensors`.
        resume: go on with the run in `out`, from its newest checkpoint to the same bits that an
            uninterrupted run reaches; starts one if there is none, returns one that is finished.
        overwrite: delete the run in `out` first, if there is one.
        report: takes each row of the log as it is written; None shows a live table.

    Returns:
        The finished run, ready to embed.

    Raises:
        FileExistsError: `out` holds a run, and neither `resume` nor `overwrite` is set.
        ValueError: a config that does not fit the data, or is not that of the run to resume.
        NonFiniteLoss: loss or gradient were not finite for too many steps in a row.
        Interrupted: the process was told to end (SIGTERM), and the run has been saved.
    """
    folder = RunFolder(Path(out))
    # All that may be refused comes before the folder is touched.
    store = training_rows(config)
    mesh = mesh_of(config.layout)
    check_batch(config.batch_size, mesh)
    data = Data(store, config, mesh)
    finished = resume and folder.params.exists()  # then nothing will be learned from them
    measured = {} if finished else varied(moments(store), store)
    with folder.lock() if is_first_process() else contextlib.nullcontext():
        if is_first_process():
            folder.claim(config, resume=resume, overwrite=overwrite)
        meet("claimed")
        try:
            if not folder.params.exists():
                _train(config, folder, store.dims, measured, data, mesh, report)
        except OSError as error:
            error.add_note(
                f"The run in {folder.root} is as its last checkpoint left it: see to the cause, "
                "such as a full disk, and go on with --resume"
            )
            raise
        meet("trained")
    if store.lost:
        _log.warning(
            "%d records of %s could not be read and were left out: rows %s",
            *(len(store.lost), store.source, ", ".join(map(str, sorted(store.lost)[:10]))),
        )
    return load_run(folder.root)


def _train(
    config: Config,
    folder: RunFolder,
    dims: Mapping[str, int],
    measured: Mapping[str, Moments],
    data: Data,
    mesh: Mesh,
    report: Report | None,
) -> None:
    """Starts or goes on, and writes the trained model."""
    start = Start(config, dims, measured, mesh)
    about = {"config": dataclasses.asdict(config), "dims": dict(dims)}
    step = make_step(config, start.graphdef, start.statistics, start.tx, mesh)

    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(folder, config.keep_checkpoints, about))
        fresh = checkpoints.latest is None
        state = start.state() if fresh else checkpoints.restore(start.abstract)
        begun = int(state.step)
        writers = []
        if is_first_process():
            folder.note_start(begun)
            log = stack.enter_context(MetricsLog(folder.metrics, last_step=begun))
            writers = [log.write, report or stack.enter_context(live(config.steps))]
        watch = Watch(config, writers)
        batches = stack.enter_context(contextlib.closing(data.batches(begun)))
        state = _run(config, state, step, batches, checkpoints, watch)

    variables = nnx.to_pure_dict(
        nnx.state(nnx.merge(start.graphdef, state.params, start.statistics))
    )
    variables = jax.tree.map(on_host, variables)
    if is_first_process():
        save_params(folder.params, variables, about)


def training_rows(config: Config) -> FeatureStore:
    """The rows that a run trains on, of the modalities that it trains on.

    Raises:
        ValueError: data that are not there, or that the config does not fit.
    """
    store = load(config.data, on_bad_record=config.on_bad_record)
    if config.modalities:
        store = store.only(config.modalities)
    for name, term in config.terms.items():
        term.check_modalities(store.modalities)
        if term.needs_labels and store.labels is None:
            raise ValueError(
                f"{name} needs labels, and {store.source} has none: give it an array 'labels', the "
                "class of each row"
            )
    rows = store.part("train")
    if len(rows.modalities) < 2:
        raise ValueError(
            f"{store.source} has {', '.join(rows.modalities)} only: wanted two modalities to align"
        )
    return rows


def _run(
    config: Config,
    state: TrainState,
    step: Any,
    data: Iterator[Any],
    checkpoints: Checkpoints,
    watch: Watch,
) -> TrainState:
    """Steps from where `state` stands to the end of the run."""
    pending: tuple[int, Metrics] | None = None

    def settle() -> None:
        if pending is not None:
            watch.step(*pending)

    with stop_signal() as stopping:
        for count in range(int(state.step) + 1, config.steps + 1):
            state, metrics = step(state, next(data))
            # Metrics are read one step late, so the host prepares a step while the device computes.
            settle()
            pending = count, metrics
            stop = stopping(count)
            if count % config.checkpoint_every == 0 or count == config.steps or stop:
                # Nothing is saved before its log is written.
                settle()
                pending = None
                checkpoints.save(state)
            if stop and count < config.steps:
                raise Interrupted(count)
    return state

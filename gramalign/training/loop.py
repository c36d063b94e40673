"""The training loop."""

import contextlib
import dataclasses
import functools
import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from gramalign.counted import counted
from gramalign.data import FeatureStore, digest, same_rows
from gramalign.data.workers import next_of
from gramalign.files import check_local
from gramalign.mesh import on_own_mesh
from gramalign.training import digests
from gramalign.training.alike import check_shared, facts, seen
from gramalign.training.augment import check_augment, load_augment
from gramalign.training.checkpoint import Checkpoints
from gramalign.training.config import Config
from gramalign.training.environment import environment
from gramalign.training.input import Data
from gramalign.training.layout import check_batch, mesh_of, shardings
from gramalign.training.live import Report
from gramalign.training.log import Log, opened
from gramalign.training.model import joined, standardised
from gramalign.training.moments import moments, varied
from gramalign.training.params_file import save_params
from gramalign.training.processes import (
    agreed,
    check_alike,
    from_all,
    is_first_process,
    meet,
    on_host,
    together,
)
from gramalign.training.profile import Profile
from gramalign.training.restore import Run, load_run, make_run
from gramalign.training.rows import chosen_rows
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import Start, make_programs, try_out
from gramalign.training.state import TrainState
from gramalign.training.step import Metrics
from gramalign.training.stopping import Interrupted, Stopping, stop_signal
from gramalign.training.timing import Timing
from gramalign.training.validating import Validator
from gramalign.training.warm_start import weights_file
from gramalign.training.watch import Watch
from gramalign.training.writers import check_writers

_log = logging.getLogger(__name__)


@on_own_mesh
def train(
    config: Config,
    out: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Report | None = None,
    profile: tuple[int, int] | None = None,
) -> Run:
    """Trains a model on the training part of a feature store.

    Args:
        config: the run.
        out: its folder: `config.json`, `environment.json`, `fixed.safetensors`, which is not
            trained, `metrics.jsonl`, `timing.jsonl`, `checkpoints/`, and finally
            `params.safetensors`.
        resume: continue the run in `out` from its newest checkpoint, to the same bits as an
            uninterrupted run; starts one if there is none, returns one that is finished.
        overwrite: delete the run in `out` first, if there is one.
        report: takes each row of the log as it is written; None shows a live table.
        profile: first and last step to trace with `jax.profiler`, into `out/profile`; of
            several processes, each into a folder there.

    Returns:
        The finished run, ready to embed: as after the last step or, with validation, after the best
        of the steps that were evaluated.

    Raises:
        FileExistsError: `out` holds a run, and neither `resume` nor `overwrite` is set.
        ValueError: a config that does not fit the data, or is not that of the run to resume, or
            `out` is no local folder.
        TypeError: anything but a config.
        NonFiniteLoss: loss or gradient were not finite for too many steps in a row.
        Interrupted: the process was asked to end (SIGTERM, Ctrl-C), and the run has been saved.
    """
    if not isinstance(config, Config):
        raise TypeError(f"config must be a Config, such as Config(data=...), got {config!r}")
    folder = RunFolder(Path(out))
    # Everything that may raise comes before the folder is touched.
    with together():
        check_local(out)
        check_writers(config.writers)
        profiling = Profile(folder.profile, profile, of=config.steps)
        store, chosen = chosen_rows(config)
        if config.augment is not None and not (resume and folder.params.exists()):
            check_augment(load_augment(config.augment), store.dims)
        started_from, own = None, folder.params.exists() or folder.steps()
        if config.start_from is not None and not (resume and own):
            weights = weights_file(config.start_from)
            if overwrite and weights.resolve() == folder.params.resolve():
                raise ValueError(
                    f"start_from is the run in {folder.root} itself, which overwrite would delete "
                    "first: choose another folder"
                )
            started_from = digests.of_file(weights)
        mesh = mesh_of(config.layout)
        check_batch(config.batch_size, mesh)
        data = Data(store, config, mesh)
        trained_on = digest(store)
        # The statistics of a run that is resumed, or finished, were measured when it began.
        begun = resume and (folder.params.exists() or folder.fixed.exists())
        programs = measured = None
        if not begun:
            programs = make_programs(config, store.dims, mesh)
            try_out(config, programs)
            measured = varied(moments(store, standardised(programs.model)), store)
            for term in config.terms.values() if config.steps else ():
                if doubt := term.doubt(store.modalities):
                    _log.warning(doubt)
    how = {"resume": resume, "overwrite": overwrite, "a run in the folder": begun}
    check_alike({**how, **facts(config, trained_on, measured, started_from)})
    begun_with = {"trained_on": trained_on, "started_from": started_from}
    make_start = functools.partial(Start, config, store.dims, folder=folder, **begun_with)
    start = None if programs is None else make_start(measured, programs)
    word = from_all(uuid.uuid4().hex)[0]
    with contextlib.ExitStack() as stack:
        with together():
            if is_first_process():
                stack.enter_context(folder.lock())
                folder.claim(config, resume=resume, overwrite=overwrite)
                folder.locked.write_text(word)
        with together():
            check_shared(folder, word)
            _check_unchanged(folder, store, config, **begun_with)
        try:
            with together():
                if is_first_process():
                    folder.note_changes(config)
            if not agreed(folder.params.exists()):  # another may still see one that is deleted
                start = start or make_start(None, make_programs(config, store.dims, mesh))
                _train(config, folder, start, data, chosen, mesh, report, profiling)
            profiling.tell_missed()
        except OSError as error:
            error.add_note(
                f"The run in {folder.root} is as its last checkpoint left it: remove the cause, "
                "such as a full disk, and continue with --resume"
            )
            raise
        meet("trained")
    if store.lost:
        _log.warning(
            "left out %s of %s that could not be read: rows %s",
            counted(len(store.lost), "record"),
            *(store.source, ", ".join(map(str, sorted(store.lost)[:10]))),
        )
    seen(folder.params.exists)
    run = load_run(folder.root)
    # Each process may have the data in a place of its own.
    return dataclasses.replace(run, config=dataclasses.replace(run.config, data=config.data))


def _check_unchanged(
    folder: RunFolder,
    store: FeatureStore,
    config: Config,
    *,
    trained_on: str,
    started_from: str | None,
) -> None:
    """Raises a ValueError if a run in the folder began with other rows, or from other weights."""
    if not same_rows(folder.trained_on() or trained_on, trained_on):
        raise ValueError(
            f"{store.source} has changed since the run in {folder.root} began, so its test rows "
            "may be different ones: restore it, or start a new run in another folder"
        )
    if started_from is not None and folder.started_from() not in (None, started_from):
        raise ValueError(
            f"start_from: {config.start_from} has changed since the run in {folder.root}, which "
            "has no checkpoint yet, began from it: restore it, or begin anew with --overwrite"
        )


def _train(
    config: Config,
    folder: RunFolder,
    start: Start,
    data: Data,
    chosen: FeatureStore | None,
    mesh: Mesh,
    report: Report | None,
    profile: Profile,
) -> None:
    """Starts or resumes the run, and writes the trained model."""
    with contextlib.ExitStack() as stack:
        # Before anything is compiled. A terminal sends Ctrl-C to the reading processes as well.
        stopping = stack.enter_context(stop_signal(ctrl_c=config.workers == 0))
        checkpoints = stack.enter_context(
            Checkpoints(
                folder,
                config.keep_checkpoints,
                0 if chosen is None else config.validation.keep,
                start.about | {"environment": environment()},
            )
        )
        fresh = checkpoints.latest is None
        kept = config.start_from is not None or any(not x for _, x in config.optimizer.rates)
        if not fresh and kept and not folder.fixed.exists():
            raise FileNotFoundError(
                f"{folder.fixed} is missing, which holds what this run does not train: restore it, "
                "or begin anew with --overwrite"
            )
        state = start.state() if fresh else checkpoints.restore(start.abstract)
        fixed = jax.device_put(start.fixed, shardings(config.layout, mesh, start.fixed))
        begun = int(state.step)
        noted = {} if fresh else checkpoints.noted(begun)
        log = Log()
        with together():
            if is_first_process():
                folder.note_start(begun)
                log = stack.enter_context(opened(folder, config, begun, report))

        def run(state: TrainState) -> Run:
            variables = joined(start.graphdef, state.params, fixed)
            return make_run(
                folder.root, config, start.dims, start.model, variables, int(state.step)
            )

        if config.steps:
            watch = Watch(config, log, Timing(config.batch_size, mesh.size), noted)
            state = _run(
                config,
                state,
                lambda state, batch: start.step(state, fixed, batch),
                stack.enter_context(contextlib.closing(data.batches(begun))),
                checkpoints,
                watch,
                Validator(config, chosen, run, log, folder.metrics),
                profile,
                stopping,
            )
            watch.check_learned(state)
        if chosen is not None:
            state = checkpoints.best(start.abstract) or state

    params = jax.tree.map(on_host, state.params)
    if is_first_process():
        trained = joined(start.graphdef, params, start.fixed)
        save_params(folder.params, trained, start.about | {"step": int(state.step)})
    if stopping.told:  # too late for this run, but in time for the caller's next one
        raise Interrupted(int(state.step), by_hand=stopping.by_hand)


def _run(
    config: Config,
    state: TrainState,
    step: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
    batches: Iterator[Any],
    checkpoints: Checkpoints,
    watch: Watch,
    validator: Validator,
    profile: Profile,
    stopping: Stopping,
) -> TrainState:
    """Runs the steps from `state` to the end of the run."""
    timing = watch.timing
    with profile:
        for count in range(int(state.step) + 1, config.steps + 1):
            if validator.over:
                break
            profile.before(count)
            with timing.on("input"):
                batch = next_of(batches)
            with timing.on("compute"):
                state, metrics = step(state, batch)
            # Metrics are read one step late, so the host prepares a step while the device computes.
            watch.settle()
            watch.take(count, metrics)
            profile.after(count, state)
            stop, due = stopping(count), validator.due(count)
            if count % config.checkpoint_every == 0 or count == config.steps or stop or due:
                watch.settle()  # nothing is saved before its log is written
                worth = None
                if due:
                    with timing.on("validation"):
                        worth = validator.measure(state)
                with timing.on("checkpoint"):
                    checkpoints.save(state, worth, watch.noted)
            if stop and count < config.steps:
                raise Interrupted(count, by_hand=stopping.by_hand)
    return state

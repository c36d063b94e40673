"""Checkpoints. The only module that uses Orbax.

A checkpoint holds the training state: parameters, optimiser, random key, and the step, which
determines the position in the data. It is written in the background into a folder with a temporary
name, which Orbax renames once it is complete: a run that is killed leaves whole checkpoints or
none. Digests, written once the files are complete, reveal any later damage to them.
"""

import contextlib
import dataclasses
import logging
import types
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from gramalign.training import digests
from gramalign.training.params_file import named
from gramalign.training.processes import agreed, is_first_process, meet
from gramalign.training.run_folder import RunFolder
from gramalign.training.state import TrainState

_log, _orbax_log = logging.getLogger(__name__), logging.getLogger("absl")
_FIGURE = "figure"
_NOTED = "noted"
_WRITTEN_WITHIN = 600  # seconds that processes wait for one that is slow to write, or cannot
_RAISING = {"future.py", "async_checkpointer.py", "checkpoint_manager.py"}
_policies = ocp.training.preservation_policies


class DamagedCheckpoint(OSError):
    """No checkpoint of a run can be read."""


class Checkpoints:
    """The checkpoints of one run; a context manager that exits once the last one is on disk.

    Args:
        folder: of the run.
        keep: how many of the latest to keep.
        keep_best: how many of those with the largest figure to keep as well.
        about: JSON-compatible values to store in each.
    """

    def __init__(
        self,
        folder: RunFolder,
        keep: int,
        keep_best: int = 0,
        about: Mapping[str, Any] | None = None,
    ):
        self._run = folder
        self._folder = folder.checkpoints.absolute()
        self._about = dict(about or {})
        waiting = ocp.Context()
        waiting.asynchronous.timeout_secs = _WRITTEN_WITHIN
        self._orbax = ocp.training.Checkpointer(
            str(self._folder),
            context=waiting,
            # Orbax calls the same objects by two types in its own annotations.
            preservation_policy=_policies.AnyPreservationPolicy(  # pyright: ignore[reportArgumentType]
                [
                    _policies.LatestN(keep),
                    _policies.BestN(
                        get_metric_fn=_figure, n=keep_best, keep_checkpoints_without_metrics=False
                    ),
                ]
            ),
            cleanup_tmp_directories=True,
        )
        self._digesting = ThreadPoolExecutor(1, thread_name_prefix="digests")
        self._last: Future | None = None
        self._failed = False

    def __enter__(self) -> "Checkpoints":
        _orbax_log.addFilter(_is_untold)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._digesting.shutdown()
            # Closing raises the error of a failed save once more.
            with contextlib.suppress(*([Exception] if self._failed else [])):
                self._orbax.close()
            _orbax_log.removeFilter(_is_untold)

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, on disk or on its way there; None if there is none."""
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(
        self,
        state: TrainState,
        figure: float | None = None,
        noted: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> None:
        """Starts to save a state.

        Returns once the state has been read; it may be donated while the files are being written.
        If the previous checkpoint is not yet on disk, waits for it first.

        Args:
            state: the whole training state.
            figure: its validation figure, larger is better; None: not known.
            noted: JSON-compatible values to store in it, beside `about`.

        Raises:
            OSError: the previous checkpoint could not be written.
        """
        self.wait()
        # `force`: when to save is the loop's decision; left to itself Orbax skips a checkpoint
        # while another is being written.
        step = int(state.step)
        try:
            saving = self._orbax.save_checkpointables_async(
                *(step, {"state": state}),
                force=True,
                metrics=None if figure is None else {_FIGURE: figure},
                custom_metadata={**self._about, _NOTED: dict(noted)},
            )
        except Exception as error:
            raise self._refused(step, error) from error
        if saving is not None:
            self._last = self._digesting.submit(self._finish, saving, step)

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk.

        Raises:
            OSError: it could not be written.
        """
        saving, self._last = self._last, None
        if saving is not None:
            saving.result()

    def _finish(self, saving: Any, step: int) -> None:
        try:
            saving.result()
        except Exception as error:  # of many kinds, whatever is wrong with the disk
            raise self._refused(step, error) from error
        if is_first_process():
            digests.write(self._folder / str(step), self._run.digest(step))
            kept = self._run.steps()
            for path in self._run.digests.glob("*.json"):
                if int(path.stem) not in kept:
                    path.unlink(missing_ok=True)

    def _refused(self, step: int, error: Exception) -> OSError:
        self._failed = True
        why = str(error).partition("\n")[0]
        if isinstance(error, TimeoutError):
            why = f"a process has not written its part in {_WRITTEN_WITHIN} s, see what it printed"
        return OSError(f"cannot write checkpoint {step} to {self._folder}: {why}")

    def restore(self, like: TrainState) -> TrainState:
        """Loads the newest undamaged checkpoint, whatever devices it was saved from.

        Args:
            like: the shapes, dtypes and shardings to restore to.

        Raises:
            DamagedCheckpoint: all are damaged.
            ValueError: the newest is whole, but of another model or optimiser.
        """
        steps = sorted((found.step for found in self._orbax.checkpoints), reverse=True)
        state = self._first_whole(steps, like)
        if state is None:
            raise DamagedCheckpoint(
                f"{self._folder}: no checkpoint can be read. They were moved to "
                f"{self._run.damaged}, and resuming will start anew"
            )
        return state

    def noted(self, step: int) -> Mapping[str, Any]:
        """What `save` was to note in a checkpoint; nothing in those of earlier versions."""
        found: Any = self._orbax.checkpointables_metadata(step).custom_metadata
        return (found or {}).get(_NOTED, {})

    def best(self, like: TrainState) -> TrainState | None:
        """Loads the checkpoint with the largest figure, of equal ones the newest.

        Returns:
            The state; None if no undamaged checkpoint has a figure.
        """
        self.wait()
        return self._first_whole(_best_first(self._orbax), like)

    def _first_whole(self, steps: Sequence[int], like: TrainState) -> TrainState | None:
        for step in steps:
            digest, differing = self._run.digest(step), []
            # With several processes the first decides, or each might load a different one.
            if is_first_process():
                differing = digests.differing(self._folder / str(step), digest)
            if agreed(not differing):
                try:
                    _check_alike(self._folder / str(step), like, ("params.", "opt_state."))
                    return self._orbax.load_checkpointables(step, {"state": like})["state"]
                except Exception as error:
                    # Of many kinds, whatever is wrong with a file. If the files are what was
                    # written, it is not damaged but of another model or another version.
                    if digest.exists():
                        raise
                    differing = [f"{type(error).__name__}: {error}".splitlines()[0][:200]]
            self._put_aside(step, differing)
        return None

    def _put_aside(self, step: int, why: list[str]) -> None:
        aside = self._run.damaged / str(step)
        meet(f"checkpoint {step} is damaged")
        if is_first_process():
            _log.warning(
                "checkpoint %d is damaged (%s): moved it to %s, continuing from the one before",
                *(step, "; ".join(why), aside),
            )
            aside.parent.mkdir(exist_ok=True)
            (self._folder / str(step)).rename(_free(aside))
            self._run.digest(step).unlink(missing_ok=True)
        meet(f"checkpoint {step} is put aside")
        self._orbax.reload()


@dataclass(frozen=True)
class Saved:
    """A checkpoint that can be read while another process trains in its folder."""

    step: int
    path: Path
    about: Mapping[str, Any]
    """What each was to hold."""

    def params(self, like: TrainState) -> PyTree:
        """The parameters alone, with the shapes, dtypes and shardings of a state's parameters.

        Raises:
            ValueError: they are another model's.
        """
        unread = jax.tree.map(lambda leaf: ocp.PLACEHOLDER, like)
        state = dataclasses.replace(unread, params=like.params)
        _check_alike(self.path, like, ("params.",))
        return ocp.load_checkpointables(str(self.path), {"state": state})["state"].params


def saved(folder: RunFolder, which: int | Literal["latest", "best"]) -> Saved:
    """Finds a checkpoint of a run, without changing anything in its folder.

    Args:
        folder: of the run.
        which: its step, or the newest, or the best by validation.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpoint: its files are not what was written.
    """
    root = folder.checkpoints.absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"{folder.root} has no checkpoints: give the folder of a run")
    with ocp.training.Checkpointer(str(root)) as orbax:
        steps = [each.step for each in orbax.checkpoints]
        if which == "best":
            fitting, why = _best_first(orbax), "; the best is known only with --validation.every"
        else:
            fitting, why = [n for n in reversed(steps) if which in (n, "latest")], ""
        if not fitting:
            there = ", ".join(map(str, steps)) or "none"
            raise FileNotFoundError(f"{root}: no checkpoint is {which} (there are {there}){why}")
        step = fitting[0]
        held: Any = orbax.checkpointables_metadata(step).custom_metadata
        about = {name: x for name, x in (held or {}).items() if name != _NOTED}
    differing = digests.differing(root / str(step), folder.digest(step))
    if differing:
        raise DamagedCheckpoint(f"{root / str(step)} is damaged: {'; '.join(differing)}")
    return Saved(step, root / str(step), about)


def _check_alike(path: Path, like: TrainState, parts: tuple[str, ...]) -> None:
    """Raises a ValueError if a checkpoint has other arrays in these parts of the state.

    Orbax would tell of its own handlers, or convert one dtype to another.
    """
    there = ocp.checkpointables_metadata(str(path)).metadata["state"]
    held, wanted = _arrays(there, parts), _arrays(like, parts)
    # Keys are saved as numbers.
    keys = {x for x, leaf in named(like) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)}
    changed = sorted(dict(held.items() ^ wanted.items()).keys() - keys)
    if changed:
        name = changed[0]
        raise ValueError(
            f"{path} holds other arrays than this run's model and optimiser: {name} is "
            f"{held.get(name, 'not there')}, expected {wanted.get(name, 'not there')}. If the code "
            "of a tower or optimiser of your own has changed, restore it, or start a new run in "
            "another folder"
        )


def _arrays(tree: PyTree, parts: tuple[str, ...]) -> dict[str, str]:
    """Dtypes and shapes by name."""
    return {
        name: f"{leaf.dtype}{list(leaf.shape)}"
        for name, leaf in named(tree)
        if name.startswith(parts)
    }


def _best_first(orbax: ocp.training.Checkpointer) -> list[int]:
    """The checkpoints with a figure, by step; of equal ones the newest comes first."""
    known = [found for found in orbax.checkpoints if found.metrics]
    known.sort(key=lambda found: (_figure(found.metrics), found.step), reverse=True)
    return [found.step for found in known]


def _is_untold(record: logging.LogRecord) -> bool:
    """Whether Orbax logs anything but an error that it raises as well.

    Each of its threads would print a trace of it, before the line that tells of it.
    """
    return not (record.exc_info and "orbax" in record.pathname and record.filename in _RAISING)


def _figure(metrics: Any) -> float:
    return metrics[_FIGURE]


def _free(path: Path) -> Path:
    """The first of `path`, `path.1`, `path.2`, ... that does not exist."""
    number, found = 0, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found

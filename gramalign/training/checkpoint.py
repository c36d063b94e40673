"""Checkpoints. The one module that knows Orbax.

A checkpoint holds the training state (parameters, optimiser, step, random key) and the position of
the data iterator. It is written in the background into a folder with a temporary name, which Orbax
renames once all is there: a run that is killed leaves whole checkpoints or none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orbax.checkpoint import v1 as ocp

from gramalign.training.state import TrainState, abstract


class Checkpoints:
    """The checkpoints of one run; a context manager that ends when the last is on disk.

    Args:
        folder: where they are kept; made if missing.
        keep: how many of the latest stay.
    """

    def __init__(self, folder: Path, keep: int):
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()),
            # Orbax calls the same objects by two types in its own annotations.
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._orbax.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, on disk or on its way there; None if there is none."""
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(self, state: TrainState, data: Iterator[Any]) -> None:
        """Starts to save a state and where the data iterator stands.

        Returns when both have been read; the state may be donated and the iterator moved on while
        the files are written. Waits first if the previous checkpoint is not yet on disk.
        """
        # `force`: when to save is the loop's decision; left to itself Orbax skips a checkpoint
        # while another is being written.
        self._orbax.save_checkpointables_async(
            int(state.step), {"state": state, "data": data}, force=True
        )

    def restore(self, like: TrainState, data: Iterator[Any]) -> TrainState:
        """Loads the newest checkpoint.

        Args:
            like: a state with the shapes, dtypes and shardings wanted.
            data: a new iterator of the run's data set, moved to where the saved one stood.

        Returns:
            The saved state.
        """
        loaded = self._orbax.load_checkpointables(
            self._orbax.latest, {"state": abstract(like), "data": data}
        )
        return loaded["state"]

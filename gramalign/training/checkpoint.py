"""Checkpoints. The one module that knows Orbax.

A checkpoint holds the training state: parameters, optimiser, random key, and the step, from which
the place in the data follows. It is written in the background into a folder with a temporary name,
which Orbax renames once all is there: a run that is killed leaves whole checkpoints or none.
"""

from pathlib import Path

from orbax.checkpoint import v1 as ocp

from gramalign.training.state import TrainState


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

    def save(self, state: TrainState) -> None:
        """Starts to save a state.

        Returns when it has been read; it may be donated while the files are written. Waits first
        if the previous checkpoint is not yet on disk.
        """
        # `force`: when to save is the loop's decision; left to itself Orbax skips a checkpoint
        # while another is being written.
        self._orbax.save_checkpointables_async(int(state.step), {"state": state}, force=True)

    def restore(self, like: TrainState) -> TrainState:
        """Loads the newest checkpoint, whatever devices it was saved from.

        Args:
            like: the shapes, dtypes and shardings wanted.
        """
        return self._orbax.load_checkpointables(self._orbax.latest, {"state": like})["state"]

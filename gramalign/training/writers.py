"""Further destinations of a run's log: TensorBoard and Weights & Biases."""

import contextlib
import importlib.util
import json
import os
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from gramalign.training.metrics import Row

Writer = Literal["tensorboard", "wandb"]
Write = Callable[[Row], None]


@contextlib.contextmanager
def _tensorboard(folder: Path, config: dict[str, Any], begun: int) -> Iterator[Write]:
    """Writes event files into `folder/tensorboard`.

    Args:
        folder: of the run.
        config: the run.
        begun: step that it resumes from; what was written for later steps is purged.
    """
    from tensorboardX import SummaryWriter

    # From the next step on, so that events of step `begun` itself are kept.
    purge = begun + 1 if begun else None
    files = folder / "tensorboard"
    # Files are named by the second, and two starts within a second would share a file.
    suffix = f".{len(list(files.glob('*'))):04d}"
    with SummaryWriter(str(files), purge_step=purge, filename_suffix=suffix) as writer:
        if not begun:
            writer.add_text("config", f"```\n{json.dumps(config, indent=2)}\n```")

        def write(row: Row) -> None:
            step = int(row["step"])
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, step)

        yield write


@contextlib.contextmanager
def _wandb(folder: Path, config: dict[str, Any], begun: int) -> Iterator[Write]:
    """Logs to Weights & Biases, configured by its own variables: WANDB_PROJECT, WANDB_MODE, ...

    A run that is resumed is the same run there.

    Args:
        folder: of the run.
        config: the run.
        begun: step that it resumes from; repeated steps are there already, with the same values.
    """
    import wandb  # pyright: ignore[reportMissingImports]

    name = folder / "wandb-id"
    if not (begun and name.exists()):
        name.write_text(uuid.uuid4().hex[:12])
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "gramalign"),
        name=folder.name,
        dir=str(folder),
        id=name.read_text(),
        resume="allow",
        config=config,
    )
    with run:

        def write(row: Row) -> None:
            values = {name: value for name, value in row.items() if name != "step"}
            run.log(values, step=int(row["step"]))

        yield write


WRITERS: dict[Writer, Callable[..., contextlib.AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
"""By name: each opens its files for a run, and yields what takes a row."""

_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def check_writers(names: Collection[Writer]) -> None:
    """Raises a ValueError for a writer whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise ValueError(
                f"writer {name!r} needs the package {_PACKAGES[name]}, which is not installed: "
                f"pip install 'gramalign[{name}]', or leave it out of --writers"
            )

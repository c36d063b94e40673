"""Further destinations of a run's log: TensorBoard and Weights & Biases."""

import contextlib
import json
import os
import socket
import struct
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from gramalign.extras import check_extra
from gramalign.files import Appended, make_folder, write_text
from gramalign.training.metrics import Row

Writer = Literal["tensorboard", "wandb"]
Write = Callable[[Row], None]

WANDB_ID = "wandb-id"
"""The file in a run's folder with the name of the run there."""


@contextlib.contextmanager
def _tensorboard(
    folder: Path, config: dict[str, Any], begun: int, past: Iterable[Row]
) -> Iterator[Write]:
    """Writes event files into `folder/tensorboard`."""
    # Not its SummaryWriter: that writes in a thread, later, and waits for ever if the disk is full.
    from tensorboardX.proto.event_pb2 import (
        Event,  # pyright: ignore[reportAttributeAccessIssue]
        SessionLog,  # pyright: ignore[reportAttributeAccessIssue]
    )
    from tensorboardX.record_writer import masked_crc32c
    from tensorboardX.summary import scalar, text

    def record(**content: Any) -> bytes:
        event = Event(wall_time=time.time(), **content).SerializeToString()
        size = struct.pack("<Q", len(event))
        checks = [struct.pack("<I", masked_crc32c(x)) for x in (size, event)]
        return size + checks[0] + event + checks[1]

    def of_row(row: Row) -> bytes:
        step = int(row["step"])
        values = [scalar(name, x) for name, x in row.items() if name != "step"]
        return b"".join(record(step=step, summary=x) for x in values)

    files = folder / "tensorboard"
    make_folder(files)
    new = not any(path.stat().st_size for path in files.iterdir())
    # TensorBoard reads them in the order of their names.
    name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
    with contextlib.closing(Appended(files / name)) as file:
        opening = [record(file_version="brain.Event:2")]
        # Strikes out later steps that a killed process has written; events of `begun` are kept.
        start = SessionLog(status=SessionLog.START)
        opening.append(record(step=begun + 1, session_log=start))
        if new:
            shown = f"```\n{json.dumps(config, indent=2)}\n```"
            opening += [record(summary=text("config", shown)), *map(of_row, past)]
        try:
            file.write(b"".join(opening))
        except OSError:
            (files / name).unlink()  # nothing is here yet, for the next start
            raise
        yield lambda row: file.write(of_row(row))


@contextlib.contextmanager
def _wandb(
    folder: Path, config: dict[str, Any], begun: int, past: Iterable[Row]
) -> Iterator[Write]:
    """Logs to Weights & Biases, configured by its own variables: WANDB_PROJECT, WANDB_MODE, ...

    A run that is resumed is the same run there, which has repeated steps, with the same values.
    """
    import wandb  # pyright: ignore[reportMissingImports]

    known = folder / WANDB_ID
    new = not known.exists()
    name = uuid.uuid4().hex[:12] if new else known.read_text()
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "gramalign"),
        name=folder.name,
        dir=str(folder),
        id=name,
        resume="allow",
        config=config,
    )

    def write(row: Row) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        run.log(values, step=int(row["step"]))

    with run:
        if new:
            for row in past:
                write(row)
            write_text(known, name)
        yield write


WRITERS: dict[Writer, Callable[..., contextlib.AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
"""By name: each opens its files for a run, and yields what takes a row.

They take the run's folder, its config, the step that it resumes from, and the rows until then,
which they write where the run is new to them.
"""

_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def check_writers(names: Collection[Writer]) -> None:
    """Raises a ValueError for a writer whose package is not installed."""
    for name in names:
        check_extra(name, f"--writers {name}", **{_PACKAGES[name]: _PACKAGES[name]})

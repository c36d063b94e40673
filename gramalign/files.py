"""Files that appear whole or not at all, and folders that one process at a time works in."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives another name to write under, which becomes `path` if the block ends without an error.

    Two processes that write one file at once leave that of the later; several files in one `with`
    take their names together, when all are written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)  # some libraries make theirs anew, for nobody else to read
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with whole(path) as draft:
        draft.write_text(text, "utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is damaged, or of another kind.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged or no JSON ({error}): bring back what it was, or make it again"
        ) from error


@contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Keeps other processes from the same block, until it or the process ends.

    Args:
        path: a file in the folder that is kept; made if it is not there, and left there.
        message: of the error, whose cure it names.

    Raises:
        FileExistsError: another process is in the block.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(message) from None
        yield

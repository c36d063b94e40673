"""Files that appear whole or not at all, and folders that one process at a time works in."""

import contextlib
import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

LOCK = "lock"


def check_local(path: Path | str) -> None:
    """Raises a ValueError for an address such as gs://bucket, which would become a folder `gs:`."""
    if re.search(r"\b[a-z][a-z0-9]+:/", str(path)):
        raise ValueError(
            f"{path} is an address, but gramalign reads and writes files only: name a folder of a "
            "local or shared file system, and copy from the address, or to it"
        )


def make_folder(path: Path) -> None:
    """Makes a folder, unless it is there.

    Raises:
        NotADirectoryError: there is a file in its place, or above it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_folder(path) from error


def check_folder(path: Path) -> None:
    """Raises what `make_folder` would, and makes nothing."""
    lowest = next((x for x in (path, *path.parents) if x.exists()), None)
    if lowest is not None and not lowest.is_dir():
        raise _no_folder(path)


def _no_folder(path: Path) -> NotADirectoryError:
    return NotADirectoryError(
        f"{path} cannot be a folder, as a file is in the way: give another place"
    )


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives another name to write under, which becomes `path` if the block ends without an error.

    Two processes that write one file at once leave that of the later; several files in one `with`
    take their names together, when all are written.

    Raises:
        IsADirectoryError: there is a folder in its place.
        OSError: it cannot be written, as where the disk is full.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected a file to write: give another name")
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        draft.chmod(mode)  # some libraries make theirs anew, for nobody else to read
        _on_disk(draft)  # or a power cut leaves the name, and nothing in it
        os.replace(draft, path)
        with contextlib.suppress(OSError):  # not every file system has it for folders
            _on_disk(path.parent)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def _name(error: OSError, path: Path) -> None:
    """Notes which file could not be written, where the system does not say."""
    if error.errno and error.filename is None:
        error.add_note(f"That was while writing {path}")


class Appended:
    """A file that grows at its end, made if missing; what is written outlives the process."""

    def __init__(self, path: Path):
        self._path = path
        # With a buffer, closing would try again, and fail again, where the disk is full.
        self._file = path.open("ab", buffering=0)

    def close(self) -> None:
        """Ends it."""
        self._file.close()

    def write(self, content: bytes) -> None:
        """Appends, at once.

        Raises:
            OSError: it cannot be written, as where the disk is full.
        """
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            _name(error, self._path)
            raise


def _on_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with whole(path) as draft:
        draft.write_text(text, "utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a .safetensors file, whole or not at all.

    Args:
        path: the file.
        arrays: by name.
        metadata: of one key, as the order of several would change with each run.

    Raises:
        OSError: it cannot be written, as where the disk is full.
    """
    # It writes the numbers as they lie in memory, whatever the order it states.
    arrays = {name: np.asarray(x, order="C") for name, x in arrays.items()}
    with whole(path) as draft:
        try:
            safetensors.numpy.save_file(arrays, draft, metadata=dict(metadata))
        except safetensors.SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is damaged, or of another kind.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or not JSON ({error}): restore it, or make it again"
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
    with path.open("a") as file:
        for more in reversed(range(10)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not more:
                    raise FileExistsError(message) from None
                time.sleep(0.01)  # somebody may only be looking
        yield


def check_free(out: Path) -> None:
    """Raises a FileExistsError if there is something where a folder is to lie."""
    if out.exists():
        raise FileExistsError(f"{out} already exists: choose another place, or move it away")


@contextmanager
def unfinished(out: Path, folder: Path) -> Iterator[None]:
    """Keeps a folder to work in, for one process at a time, until `finish` gives it its place.

    Under the name it will have, half a result would be taken for the whole.

    Args:
        out: where the folder will lie.
        folder: where it lies until then; made if it is not there.

    Raises:
        FileExistsError: `out` exists, or another process is in the block.
    """
    check_free(out)
    make_folder(folder)
    lock = folder / LOCK
    busy = f"another process is making {out}: wait for it, or choose another place"
    with locked(lock, busy):
        if out.exists():  # now that nobody else can finish it
            lock.unlink(missing_ok=True)  # or that process has moved it away
            with contextlib.suppress(OSError):  # not if something is in it
                folder.rmdir()
        check_free(out)
        if not lock.exists():  # removed by a process that failed meanwhile
            raise FileExistsError(busy)
        yield


def finish(folder: Path, out: Path) -> None:
    """Gives a folder that `unfinished` keeps its place."""
    folder.rename(out)
    (out / LOCK).unlink()  # held until now, or another would begin in the same folder

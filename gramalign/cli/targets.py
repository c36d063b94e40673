"""Files that a command is to write, and what must not be there."""

from pathlib import Path

import safetensors

from gramalign.data.expression import parse
from gramalign.data.sources import EMBEDDED
from gramalign.search.file import KEY as INDEX
from gramalign.training.params_file import KEY as MODEL


def check_file(option: str, path: Path) -> None:
    """Refuses a file that could not be written, before what it is to hold is computed.

    Raises:
        ValueError: there is a folder in its place, or a file above it.
    """
    if path.is_dir():
        raise ValueError(f"{option} is {path}, a folder, expected a file to write")
    if not next(above for above in path.parents if above.exists()).is_dir():
        raise ValueError(f"{option} is {path}, but above it is a file: give another place")


def check_target(option: str, path: Path, data: str, *, index: bool = False) -> None:
    """Refuses to write over what would be lost: features, a trained model, an index.

    Args:
        option: how the command calls the file.
        path: the file; what is there may be replaced if it was written by the same command.
        data: what is read, a store or a mixture of several.
        index: whether an index is what is written, and nothing else may be there.

    Raises:
        ValueError: there is something else, or as `check_file`.
    """
    check_file(option, path)
    if not path.exists():
        return
    if any(Path(name).exists() and path.samefile(name) for name in parse(data, EMBEDDED)):
        raise ValueError(f"{option} is {path}, the features themselves: give another file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            kinds = set(file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        kinds = set()
    if MODEL in kinds:
        raise ValueError(f"{option} is {path}, a trained model: give another file")
    if (INDEX in kinds) != index:
        held = "is not an index" if index else "is an index"
        raise ValueError(f"{option} is {path}, which {held}: give another file, or move it away")

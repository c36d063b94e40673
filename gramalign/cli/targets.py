"""Files that a command is to write, and what must not be there."""

import json
import os
from pathlib import Path
from typing import Literal

from gramalign.data.expression import parse
from gramalign.data.sources import EMBEDDED
from gramalign.search.file import KEY as INDEX

Writer = Literal["report", "bench", "plan", "search", "embed"]

MARK = {"gramalign.embeddings": "1"}
"""What `embed` says of its files, in their metadata."""
SIGN = json.dumps(MARK, separators=(",", ":"))
"""Likewise, where that is one text: the comment at the end of an archive, say."""

# At the beginning or the end of what a command writes, and of nothing else.
_SIGNS: dict[Writer, bytes] = {
    "report": b'<meta name="generator" content="gramalign report">',
    "bench": b'{\n  "machine": ',
    "plan": b'{\n  "topology": ',
    "search": f'"{INDEX}":'.encode(),
    "embed": SIGN[1:-1].encode(),
}
_LOOKED_AT = 2**16  # bytes: behind the metadata of a .parquet are the names of its columns


def check_file(option: str, path: Path, writer: Writer) -> None:
    """Refuses a file that could not be written, before what it is to hold is computed.

    Args:
        option: how the command calls the file.
        path: the file; what is there may be replaced if the same command wrote it, or it is empty.
        writer: the command.

    Raises:
        ValueError: there is a folder in its place, or a file above it, or a file that would be
            lost: anything that the same command did not write.
    """
    if path.is_dir():
        raise ValueError(f"{option} is {path}, a folder, expected a file to write")
    if not next(above for above in path.parents if above.exists()).is_dir():
        raise ValueError(f"{option} is {path}, but above it is a file: give another place")
    if path.exists() and path.stat().st_size and _SIGNS[writer] not in _ends(path):
        raise ValueError(
            f"{option} is {path}, which exists, and nothing in it says that gramalign {writer} "
            "wrote it: give another name, or move it away"
        )


def check_embedded(option: str, path: Path, data: str) -> None:
    """Refuses to write over what is embedded, a store or a mixture: it may be embeddings itself.

    Raises:
        ValueError: it would, or as `check_file`.
    """
    if path.is_file() and any(
        Path(name).exists() and path.samefile(name) for name in parse(data, EMBEDDED)
    ):
        raise ValueError(f"{option} is {path}, the features themselves: give another file")
    check_file(option, path, "embed")


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(_LOOKED_AT)
        file.seek(-min(_LOOKED_AT, path.stat().st_size), os.SEEK_END)
        return first + file.read()

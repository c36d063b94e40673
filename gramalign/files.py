"""Files that appear whole or not at all, whatever ends the process that writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives another name to write under, which becomes `path` if the block ends without an error.

    Two processes that write one file at once leave that of the later; several files in one `with`
    take their names together, when all are written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with whole(path) as draft:
        draft.write_text(text, "utf-8")

"""The error that every preparation raises, and the check for the files that it reads."""

from pathlib import Path


class RawDataError(ValueError):
    """Raw files that are missing or not what they should be; the message names the file."""


def existing(folder: Path, name: str) -> Path:
    """The path of a raw file; raises `RawDataError` if there is none."""
    if not folder.is_dir():
        raise RawDataError(f"{folder} is not a folder: give the one that holds {name}")
    file = folder / name
    if not file.is_file():
        raise RawDataError(f"{file} does not exist: nothing is downloaded; put the raw file there")
    return file

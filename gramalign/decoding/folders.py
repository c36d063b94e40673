"""What an encoder's folder holds: its modules, and a digest by which its files are known again."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from gramalign.files import read_json
from gramalign.settings import part_of, read_settings

MODULES = "modules.json"
"""Sentence Transformers' list of modules, and where a configuration has what these say."""

_PREPARING = ("*.json", "vocab.txt", "merges.txt", "*.model")  # what makes inputs of cells
_WEIGHTS = "*.safetensors"
_INDEX = ".index.json"  # of several files of weights, whatever their format


def folders_of_modules(folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module that `modules.json` names, if there is one.

    Raises:
        ValueError: it is no list of modules.
    """
    if not (modules := folder / MODULES).is_file():
        return []
    found = read_json(modules)
    if not isinstance(found, list) or not all(_is_module(each) for each in found):
        raise ValueError(
            f"{modules} holds {found!r:.80}, expected a list, each of a type and a path"
        )
    return [(each["type"].rsplit(".", 1)[-1], folder / each["path"]) for each in found]


def preparing(
    folder: Path, what: Literal["image processor", "feature extractor"]
) -> tuple[Path, dict[str, Any]]:
    """The settings of what prepares images or sounds, and their file; none if it has no such file.

    As Hugging Face reads them: of one for all kinds, or else of one of their own.

    Raises:
        ValueError: there are none in a file.
    """
    path = folder / "processor_config.json"
    if path.is_file():
        settings = read_settings(path)
        try:
            found = part_of(settings, what.replace(" ", "_"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if found:
            return path, found
    path = folder / "preprocessor_config.json"
    return path, read_settings(path) if path.is_file() else {}


def digest_of(folder: Path, *, weights: bool) -> str:
    """Of the names and contents of what an encoder is made of.

    Args:
        folder: of the encoder.
        weights: whether they are among it: inputs do not depend on them, and a folder whose weights
            a run has learned from need not keep them.
    """
    names = (*_PREPARING, _WEIGHTS) if weights else _PREPARING
    found = hashlib.blake2b(digest_size=16)
    folders = {folder, *(path for _, path in folders_of_modules(folder))}
    files = {file for each in folders for name in names for file in each.glob(name)}
    for file in sorted(files):
        index = file.name.endswith(_INDEX)
        used = weights and file.name.endswith(f".safetensors{_INDEX}")
        if file.is_file() and (used or not index):
            found.update(f"{file.relative_to(folder)}\n".encode())
            with file.open("rb") as content:
                of_file = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16))
            found.update(of_file.digest())
    return found.hexdigest()


def _is_module(found: Any) -> bool:
    named = isinstance(found, dict) and (found.get("type"), found.get("path"))
    if not named or not all(isinstance(name, str) for name in named):
        return False
    return not Path(found["path"]).is_absolute()

"""Reads the weights of an encoder from a folder, by the names of its recipe."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from gramalign.models.pretrained.families.recipe import Recipe
from gramalign.settings import part_of, read_settings

_DTYPES = ("F16", "BF16", "F32", "F64")


def read_arrays(folder: Path, recipe: Recipe) -> dict[str, np.ndarray]:
    """Reads all weights that `recipe` calls its own, and no others; empty ones are of no part.

    Raises:
        FileNotFoundError: there is no file of weights, or not each that the index names.
        ValueError: for a damaged file, or a weight in two of them.
    """
    places = _places(folder)
    own = {
        ours: theirs
        for ours, theirs in _names(places, recipe).items()
        if ours.startswith(recipe.own) and not ours.endswith(recipe.unused)
    }
    found = {}
    for path in sorted({places[theirs] for theirs in own.values()}):
        with safetensors.safe_open(path, framework="numpy") as file:
            here = {ours: theirs for ours, theirs in own.items() if places[theirs] == path}
            found |= {ours: _array(path, file, theirs) for ours, theirs in here.items()}
    found = {name: array for name, array in found.items() if array.size}
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            return recipe.adapted(found)
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{folder} has weights of other shapes than such a model, which cannot be divided or "
            f"joined: {error}"
        ) from error


def read_all(folder: Path) -> dict[str, np.ndarray]:
    """Reads all weights in a folder.

    Raises:
        FileNotFoundError, ValueError: as `read_arrays`.
    """
    places, found = _places(folder), {}
    for path in sorted(set(places.values())):
        with safetensors.safe_open(path, framework="numpy") as file:
            found |= {name: _array(path, file, name) for name in file.keys()}  # noqa: SIM118
    return found


def _array(path: Path, file: Any, name: str) -> np.ndarray:
    """A weight, of floating-point numbers."""
    if (dtype := file.get_slice(name).get_dtype()) not in _DTYPES:
        raise ValueError(
            f"{path}: {name} is of {dtype}, expected any of {', '.join(_DTYPES)}: save the model "
            "again, in one of these, without quantisation"
        )
    return file.get_tensor(name)


def _names(names: Iterable[str], recipe: Recipe) -> Mapping[str, str]:
    """The names in the files, by the recipe's."""
    for prefix in recipe.prefixes:
        if any(name.startswith(prefix + recipe.own[0]) for name in names):
            return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return {recipe.part + name: name for name in names}


def _places(folder: Path) -> dict[str, Path]:
    """Each weight's file, by its name."""
    found = {}
    for path in _files(folder):
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                names = list(file.keys())
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
        for name in names:
            if (other := found.setdefault(name, path)) != path:
                raise ValueError(
                    f"{folder}: {name} is in {other.name} and {path.name}, expected one of them, "
                    "or model.safetensors, which is read alone"
                )
    return found


def _files(folder: Path) -> list[Path]:
    """Those that transformers reads, for folders may hold the same weights in other forms too."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        files = part_of(read_settings(index), "weight_map").values()
        if wrong := [file for file in files if not isinstance(file, str)]:
            raise ValueError(f"{index}: weight_map names {wrong[0]!r}, expected names of files")
        paths = sorted({folder / file for file in files})
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"{path} does not exist, which {index.name} names")
        return paths
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        cure = ""
        if pickles := sorted(path.name for path in folder.glob("*.bin")):
            cure = (
                f"; {pickles[0]} is a pickle, which is never opened: save the model again, with a "
                "version of transformers that writes safetensors"
            )
        raise FileNotFoundError(f"{folder} has no *.safetensors{cure}")
    return paths

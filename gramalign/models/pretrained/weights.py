"""Reads the weights of an encoder from a folder, by the names of its recipe."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import safetensors

from gramalign.models.pretrained.families.recipe import Recipe
from gramalign.settings import read_settings


def read_arrays(folder: Path, recipe: Recipe) -> dict[str, np.ndarray]:
    """Reads all weights that `recipe` calls its own, and no others.

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
            found |= {ours: file.get_tensor(theirs) for ours, theirs in here.items()}
    return recipe.adapted(found)


def read_all(folder: Path) -> dict[str, np.ndarray]:
    """Reads all weights in a folder.

    Raises:
        FileNotFoundError, ValueError: as `read_arrays`.
    """
    places, found = _places(folder), {}
    for path in sorted(set(places.values())):
        with safetensors.safe_open(path, framework="numpy") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


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
        except safetensors.SafetensorError as error:
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
        paths = sorted(
            {folder / name for name in read_settings(index).get("weight_map", {}).values()}
        )
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

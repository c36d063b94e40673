"""Trained parameters as one safetensors file, which any tool can read without running code."""

import hashlib
import json
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from gramalign.files import write_arrays

KEY = "gramalign"


def save_params(path: str | Path, params: PyTree, about: Mapping[str, Any]) -> None:
    """Writes nested dicts of arrays under dotted names, such as `encoder.towers.text.head.bias`.

    The file appears whole or not at all, and the same content gives the same bytes.

    Args:
        path: the file.
        params: the arrays.
        about: JSON-compatible values, kept in the file's metadata.

    Raises:
        OSError: it cannot be written.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in named(params)}
    write_arrays(Path(path), arrays, {KEY: json.dumps(about)})


def read_about(path: Path) -> dict[str, Any]:
    """The values that were saved beside the arrays.

    Raises:
        ValueError: the file is damaged, or was not written by `save_params`.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[KEY])
        if not isinstance(about, dict):
            raise ValueError(f"its metadata are {about!r}, expected values by name")
        return about
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error


def load_params(path: str | Path, like: PyTree) -> PyTree:
    """Reads what `save_params` wrote.

    Args:
        path: the file.
        like: nested dicts of arrays or of their abstract shapes.

    Returns:
        Numpy arrays in the structure of `like`.

    Raises:
        ValueError: names or shapes that differ from those of `like`.
    """
    arrays = read_arrays(path)
    wanted = dict(named(like))
    if wanted.keys() != arrays.keys():
        missing, extra = sorted(wanted.keys() - arrays), sorted(arrays.keys() - wanted)
        raise ValueError(
            f"{path} holds other arrays than the model: it lacks {missing or 'nothing'}, and also "
            f"has {extra or 'nothing'}"
        )
    for name, leaf in wanted.items():
        if arrays[name].shape != leaf.shape:
            raise ValueError(
                f"{path}: {name} has shape {arrays[name].shape}, expected {leaf.shape}"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by their dotted names.

    Raises:
        ValueError: the file is damaged, or not a .safetensors.
    """
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise _unreadable(path, error) from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every array of a file, by their dotted names, without reading the arrays.

    Raises:
        ValueError: as `read_arrays`.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, error: Exception) -> ValueError:
    why = f"it lacks the entry {error}" if isinstance(error, KeyError) else f"{error}"
    return ValueError(f"{path} is damaged, or was not written by a run of gramalign: {why}")


def content_digest(tree: PyTree, about: str = "") -> str:
    """A digest of all arrays of nested dicts, with their names, and of a text."""
    found = hashlib.blake2b(about.encode(), digest_size=8)
    for name, array in sorted(named(tree), key=operator.itemgetter(0)):
        found.update(name.encode() + np.asarray(array, order="C").tobytes())
    return found.hexdigest()


def named(tree: PyTree) -> Iterator[tuple[str, Any]]:
    """The leaves of nested dicts, by their names in a file."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="."), leaf

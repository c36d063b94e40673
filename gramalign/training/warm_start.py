"""Starts a run from the weights of another, as far as they fit."""

import contextlib
import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gramalign.counted import counted
from gramalign.training.config import Config
from gramalign.training.params_file import named, read_about, read_arrays, read_shapes
from gramalign.training.run_folder import RunFolder
from gramalign.training.state import TrainState
from gramalign.training.tower_named import of_modality


@dataclass(frozen=True)
class Matched:
    """What happened to each array, by names such as `encoder.towers.text.head.kernel`."""

    source: str
    taken: tuple[str, ...]
    """Are those of the other run."""
    new: tuple[str, ...]
    """Are in this run only, and start as they would."""
    other_shape: tuple[str, ...]
    """Have another shape there, and start as they would."""
    left: tuple[str, ...]
    """Are in the other run only."""

    def __str__(self) -> str:
        def listed(names: tuple[str, ...]) -> str:
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            return f"{len(names)} ({', '.join(names[:6])}{more})" if names else "0"

        return (
            f"{self.source}: {counted(len(self.taken), 'array')} loaded; not in it "
            f"{listed(self.new)}; of another shape in it {listed(self.other_shape)}; not used "
            f"{listed(self.left)}"
        )

    def to_json(self) -> str:
        """As indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def weights_file(source: str | Path) -> Path:
    """The file of a run's weights, given the file itself or the run's folder.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(source)
    begun = RunFolder(path).config.exists()
    path = RunFolder(path).params if path.is_dir() else path
    if not path.exists():
        cure = "give the folder of a finished run, or its params.safetensors"
        if begun:
            cure = "finish that run, or make a finished one from a checkpoint with gramalign export"
        raise FileNotFoundError(f"start_from: {path} does not exist: {cure}")
    return path


def match(params: PyTree, fixed: PyTree, config: Config) -> Matched:
    """Compares a model with the weights it starts from, by names and shapes.

    Args:
        params: what is trained, or its shapes.
        fixed: what is not, or its shapes.
        config: the run, whose `start_from` is as for `weights_file`.

    Raises:
        FileNotFoundError: as `weights_file`.
        ValueError: a damaged file, a frozen tower that is not as it was there.
    """
    assert config.start_from is not None
    path = weights_file(config.start_from)
    there, here = read_shapes(path), dict(named(params)) | dict(named(fixed))
    taken = {name for name, leaf in here.items() if there.get(name) == leaf.shape}
    matched = Matched(
        source=config.start_from,
        taken=tuple(name for name in here if name in taken),
        new=tuple(name for name in here if name not in there),
        other_shape=tuple(name for name in here if name in there and name not in taken),
        left=tuple(sorted(there.keys() - here)),
    )
    if config.freeze:
        _check_frozen({*here, *there} - taken, path, config)
    return matched


def check_some(matched: Matched, weights: Collection[str]) -> None:
    """Raises `ValueError` unless weights of a tower match.

    A temperature alone is no model that fits, and neither are means of features.

    Args:
        matched: from `match`.
        weights: names of all parameters, trained or not.
    """
    if not any(name in weights for name in matched.taken if name.startswith("encoder.")):
        raise ValueError(f"start_from: no weights of a tower match. {matched}")


def warm_start(
    state: TrainState, fixed: PyTree, config: Config
) -> tuple[TrainState, PyTree, Matched]:
    """Replaces weights by those of the same name and shape from the run that this one starts from.

    The statistics of that run's features come with them, since its towers were trained on features
    standardised that way.

    Args:
        state: the state before the first step.
        fixed: the model's variables that are not trained.
        config: the run.

    Returns:
        State, fixed, and which arrays were replaced.

    Raises:
        OSError, ValueError: as `match`.
    """
    matched = match(state.params, fixed, config)
    there = read_arrays(weights_file(matched.source))
    there = {name: there[name] for name in matched.taken}
    params, fixed = (replaced(tree, there) for tree in (state.params, fixed))
    return dataclasses.replace(state, params=params), fixed, matched


def _check_frozen(unlike: set[str], path: Path, config: Config) -> None:
    """Raises unless frozen towers are all of what they were, and compute the same.

    Args:
        unlike: names of arrays that only one of the two has, or with another shape.
        path: the other run's weights.
        config: the run.
    """
    frozen = tuple(f"encoder.towers.{modality}." for modality in config.freeze)
    for name in sorted(unlike):
        if name.startswith(frozen):
            raise ValueError(
                f"freeze: the tower is not as in {path}, by {name}: give that run's features and "
                "--model options, or leave it"
            )
    about: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # weights that no run has written
        about = read_about(path)
    for name in ("tower", "hidden", "depth", "dtype"):  # whatever shows in no shape
        now = getattr(config.model, name)
        then = about.get("config", {}).get("model", {}).get(name, now)
        ours, theirs = (
            [of_modality(x, modality) for modality in config.freeze] if name == "tower" else x
            for x in (now, then)
        )
        if ours != theirs:
            raise ValueError(
                f"freeze: Model.{name} is {now!r}, but {then!r} in {path}: give "
                f'--model.{name} "{then}"'
            )


def replaced(tree: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """A tree with these arrays in the place of those of the same names; others are left alone.

    They are taken out, or the host would hold large models once more.
    """

    def leaf(name: str, old: Any) -> Any:
        if name not in arrays:
            return old
        new = arrays.pop(name).astype(old.dtype, copy=False)
        if not isinstance(old, jax.Array):
            return new
        # Each process and device gets its own part.
        return jax.make_array_from_callback(new.shape, old.sharding, lambda index: new[index])

    leaves = [leaf(name, old) for name, old in named(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)

"""Starts a run from the weights of another, as far as they fit."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gramalign.counted import counted
from gramalign.training.params_file import named, read_arrays
from gramalign.training.run_folder import RunFolder
from gramalign.training.state import TrainState


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
    path = RunFolder(path).params if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(
            f"start_from: {path} does not exist: give the folder of a finished run, or its "
            "params.safetensors"
        )
    return path


def warm_start(
    state: TrainState, statistics: PyTree, source: str | Path
) -> tuple[TrainState, PyTree, Matched]:
    """Replaces weights by those of the same name and shape from another run.

    The statistics of that run's features come with them, since its towers were trained on features
    standardised that way.

    Args:
        state: the state before the first step.
        statistics: the model's variables that are not trained.
        source: as for `weights_file`.

    Returns:
        State, statistics, and which arrays were replaced.

    Raises:
        FileNotFoundError: as `weights_file`.
        ValueError: no weight fits.
    """
    there = read_arrays(weights_file(source))
    here = dict(named(state.params)) | dict(named(statistics))
    taken = [name for name, leaf in here.items() if _fits(leaf, there.get(name))]
    matched = Matched(
        source=str(source),
        taken=tuple(taken),
        new=tuple(name for name in here if name not in there),
        other_shape=tuple(name for name in here if name in there and name not in taken),
        left=tuple(sorted(there.keys() - here)),
    )
    # A temperature alone does not count as a model that fits.
    weights = {name for name, _ in named(state.params) if name.startswith("encoder.")}
    if not weights & set(taken):
        raise ValueError(f"start_from: no weights of a tower match. {matched}")
    params = _replaced(state.params, there, taken)
    return dataclasses.replace(state, params=params), _replaced(statistics, there, taken), matched


def _fits(leaf: Any, found: np.ndarray | None) -> bool:
    return found is not None and found.shape == leaf.shape


def _replaced(tree: PyTree, arrays: Mapping[str, np.ndarray], taken: list[str]) -> PyTree:
    def leaf(name: str, old: Any) -> Any:
        if name not in taken:
            return old
        new = arrays[name].astype(old.dtype)
        if not isinstance(old, jax.Array):
            return new
        # Each process and device gets its own part.
        return jax.make_array_from_callback(new.shape, old.sharding, lambda index: new[index])

    leaves = [leaf(name, old) for name, old in named(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)

"""A finished run, ready to embed data."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, PyTree

from gramalign.data import FeatureStore, examples
from gramalign.training.config import Config
from gramalign.training.config_json import config_from_dict
from gramalign.training.model import abstract_model
from gramalign.training.params_file import load_params, read_about
from gramalign.training.run_folder import RunFolder
from gramalign.types import Embeddings


@dataclass(frozen=True)
class Run:
    """A trained model and the config it came from."""

    folder: Path
    config: Config
    dims: dict[str, int]
    """Width of each modality's features."""
    variables: PyTree
    """Nested dict of all that the model consists of: parameters and statistics."""
    embed: Callable[..., Embeddings]
    """`embed(features, present=None)`, compiled: unit rows, zero where absent. Takes any of the
    run's modalities."""


def load_run(folder: Path | str) -> Run:
    """Opens a finished run; needs its `params.safetensors` alone.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    folder = Path(folder)
    path = RunFolder(folder).params
    if not path.exists():
        started = RunFolder(folder).config.exists()
        cure = "resume the run to finish it" if started else "no run was started there"
        raise FileNotFoundError(f"{folder} holds no {path.name}: {cure}")
    about = read_about(path)
    config, dims = config_from_dict(about["config"]), about["dims"]
    graphdef, like = nnx.split(abstract_model(config, dims))
    variables = load_params(path, nnx.to_pure_dict(like))
    embed = functools.partial(jax.jit(_embed, static_argnums=0), graphdef, variables)
    return Run(folder, config, dims, variables, embed)


def embed_store(
    run: Run, store: FeatureStore, batch_size: int = 1024
) -> dict[str, Float[np.ndarray, "rows dim"]]:
    """Embeds every row of a store.

    Args:
        run: the run.
        store: data with any of the run's modalities; others are left out.
        batch_size: rows embedded at once; every batch has this shape, so one compilation does.

    Returns:
        Unit rows of each modality in the store's order, zero where absent.

    Raises:
        ValueError: no modality in common, or one of another width.
    """
    known = [modality for modality in store.modalities if modality in run.dims]
    if not known:
        raise ValueError(f"the store has {store.modalities}, but the run embeds {tuple(run.dims)}")
    for modality in known:
        if store.dims[modality] != run.dims[modality]:
            raise ValueError(
                f"{modality} has {store.dims[modality]} features a row, but the run was trained "
                f"on {run.dims[modality]}"
            )
    embeddings = {
        modality: np.zeros((len(store), run.config.model.dim), np.float32) for modality in known
    }
    start = 0
    for batch, count in examples(store.only(known), batch_size):
        rows = run.embed(batch["features"], batch["present"])
        for modality in known:
            embeddings[modality][start : start + count] = np.asarray(rows[modality])[:count]
        start += count
    return embeddings


def _embed(graphdef, variables, features, present=None):
    return nnx.merge(graphdef, variables).encoder(features, present)

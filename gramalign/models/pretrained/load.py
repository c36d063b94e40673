"""Reads encoders from folders of pretrained models, as Hugging Face saves them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from gramalign.decoding.folders import MODULES, preparing
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families import FAMILIES, Recipe, families_of
from gramalign.models.pretrained.sentences import said_by
from gramalign.models.pretrained.weights import read_all, read_arrays
from gramalign.settings import read_settings

_CURES = {
    "siglip2": "; it sees images of any shape (NaFlex): take a SigLIP 2 of one resolution, a siglip"
}
# Settings that tell where a model is from, and how its weights are saved.
_OF_FILES = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}


def load(folder: str | Path, kind: str, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """Makes an encoder of a folder with `config.json` and `*.safetensors`.

    Text encoders of the kind of BERT pool the mean of their tokens, or do what Sentence
    Transformers' `modules.json` says. Each weight of the encoder must be in the folder, in its
    shape, and each of the folder's weights of this encoder must be used. `model.safetensors` is
    read, or the files that `model.safetensors.index.json` names, or all there are.

    Args:
        folder: of a model of one of `FAMILIES`.
        kind: "text", "image", "video" or "audio".
        dtype: what it multiplies in; parameters are float32.

    Raises:
        FileNotFoundError: the folder, or one of these files, does not exist.
        ValueError: for a model of another family, without an encoder of this kind, or whose weights
            are not those of its configuration.
    """
    encoder = abstract(folder, kind, dtype=dtype)
    arrays = read_weights(folder, encoder)
    parameters = nnx.to_flat_state(nnx.state(encoder))
    # Taken out one by one, or the host would hold all of them twice.
    whole = {path: x.replace(jax.device_put(arrays.pop(_dotted(path)))) for path, x in parameters}
    nnx.update(encoder, nnx.from_flat_state(whole))
    return encoder


def abstract(folder: str | Path, kind: str, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder of a folder with shapes in the place of weights, which are not read.

    Args:
        folder: as for `load`.
        kind: likewise.
        dtype: likewise.

    Raises:
        FileNotFoundError, ValueError: as `load`, but for weights.
    """
    return nnx.eval_shape(lambda: make(folder, kind, dtype=dtype))


def make(folder: str | Path, kind: str, *, dtype: DTypeLike) -> Encoder:
    """Makes an encoder of the shape that a folder's `config.json` says, with weights of zero.

    Args:
        folder: as for `load`.
        kind: likewise.
        dtype: likewise.

    Raises:
        FileNotFoundError, ValueError: as `load`, but for weights.
    """
    folder = Path(folder)
    config, recipe = _recipe(folder, kind)
    try:
        return recipe.make(config, jnp.dtype(dtype))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error


def read_weights(folder: str | Path, encoder: Encoder) -> dict[str, np.ndarray]:
    """Reads the weights of an encoder that `make` made of the same folder.

    Returns:
        Arrays in float32, by names such as `body.layers.0.mlp.up.kernel`.

    Raises:
        FileNotFoundError, ValueError: as `load`, for weights.
    """
    folder = Path(folder)
    config, recipe = _recipe(folder, encoder.kind)
    found, arrays = read_arrays(folder, recipe), {}
    if dense := config[MODULES].get("dense"):
        after = read_all(dense["path"])
        found |= {f"dense.{name}": array for name, array in after.items()}
    for path, parameter in nnx.to_flat_state(nnx.state(encoder)):
        name = _name(path, recipe.names)
        if name not in found:
            raise ValueError(f"{folder} lacks {name}, which {_dotted(path)} is made of")
        array, wanted = found.pop(name), parameter.shape
        given = array.shape
        if path[-1] == "kernel":  # from [out, in, ...] to [..., in, out]
            wanted = (*wanted[:-3:-1], *wanted[:-2])
            array = np.transpose(array, (*range(2, array.ndim), *range(array.ndim)[1::-1]))
        if array.size == np.prod(parameter.shape, dtype=int) and array.ndim != len(parameter.shape):
            array = array.reshape(parameter.shape)  # tokens and positions have a batch of one there
        if array.shape != parameter.shape:
            raise ValueError(
                f"{folder}: {name} has shape {given}, expected {wanted} by its config.json"
            )
        with np.errstate(over="ignore"):
            arrays[_dotted(path)] = array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{folder}: {name} has NaN or Inf, or numbers too large for float32: take another "
                "copy of the model"
            )
    if found:
        raise ValueError(
            f"{folder} has weights that no part of the encoder takes: {sorted(found)[:5]}, "
            f"{len(found)} in all; so it is not what its config.json says"
        )
    return arrays


def kinds(folder: str | Path) -> tuple[str, ...]:
    """What a folder's model encodes: of "text", "image", "video" and "audio".

    Raises:
        FileNotFoundError: the folder, or its `config.json`, does not exist.
        ValueError: for a model of another family.
    """
    return tuple(FAMILIES[_config(Path(folder))["model_type"]])


def digest_of_settings(folder: str | Path, kind: str) -> str:
    """Of all that an encoder is made by, in a folder; and by which its images are.

    Raises:
        FileNotFoundError, ValueError: as `kinds`, or settings of images that are none.
    """
    said = _config(Path(folder))
    modules = dict(said.pop(MODULES))
    if dense := modules.get("dense"):  # wherever the folder is
        modules["dense"] = {name: x for name, x in dense.items() if name != "path"}
    kept = {name: x for name, x in said.items() if name not in _OF_FILES}
    images = preparing(Path(folder), "image processor")[1] if kind in ("image", "video") else {}
    text = json.dumps([kept, modules, images], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _recipe(folder: Path, kind: str) -> tuple[dict[str, Any], Recipe]:
    config = _config(folder)
    of_family = FAMILIES[config["model_type"]]
    if kind not in of_family:
        raise ValueError(
            f"{folder} is a {config['model_type']}, which encodes {' and '.join(of_family)}, not "
            f"{kind}, as does any of {families_of(kind)}"
        )
    return config, of_family[kind]


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        here = "" if folder.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"{path} does not exist{here}, expected a folder with config.json and *.safetensors, "
            "as Hugging Face saves a model"
        )
    config = read_settings(path)
    if str(name := config.get("model_type")) not in FAMILIES:
        cure = _CURES.get(str(name), "")
        raise ValueError(
            f"{path}: model_type is {name!r}, expected any of {sorted(FAMILIES)}{cure}"
        )
    return {**config, MODULES: said_by(folder)}


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def _name(path: tuple, names: Mapping[str, str]) -> str:
    steps = ["*" if isinstance(step, int) else str(step) for step in path]
    whole = ".".join(steps)
    if whole in names:
        name = names[whole]
    else:
        name = f"{names['.'.join(steps[:-1])]}.{_LEAVES[steps[-1]]}"
    # Positions of texts are a table in the model, and an array in images.
    for number in (str(step) for step in path if isinstance(step, int)):
        name = name.replace("*", number, 1)
    return name

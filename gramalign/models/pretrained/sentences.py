"""What Sentence Transformers' folders say of an encoder: how it pools tokens, and what follows."""

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gramalign.files import read_json
from gramalign.models.linear import Linear
from gramalign.models.pretrained.transformer import Shape
from gramalign.models.pretrained.weights import read_settings

_POOLS = {"mean": "mean", "cls": "first"}
_ACTIVATIONS = {"Identity": None, "Tanh": jnp.tanh}
_DENSE = {"bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}


class Dense(Linear):
    """A linear map of what was pooled, and an activation.

    Args:
        shape: of the transformer before it.
        settings: as `said_by` gives them.
        rngs: source of the initial weights.

    Raises:
        ValueError: for another width than the transformer has, an activation that is not known, or
            settings that no other would have.
    """

    def __init__(self, shape: Shape, settings: dict[str, Any], rngs: nnx.Rngs):
        name = str(settings["activation_function"]).rsplit(".", 1)[-1]
        if name not in _ACTIVATIONS:
            raise ValueError(
                f"activation_function is {name!r}, expected any of {sorted(_ACTIVATIONS)}"
            )
        if settings.get("use_residual"):
            raise ValueError("use_residual is true, expected false")
        if (wide := settings["in_features"]) != shape.width:
            raise ValueError(f"in_features is {wide}, expected {shape.width}, what is pooled")
        sizes = {"use_bias": settings["bias"], "dtype": shape.dtype}
        super().__init__(wide, settings["out_features"], **sizes, rngs=rngs)
        self.activation = _ACTIVATIONS[name]

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch out"]:
        """Maps every row."""
        x = super().__call__(x)
        return x if self.activation is None else self.activation(x)


def said_by(folder: Path) -> dict[str, Any]:
    """What `modules.json` says, if there is one; that it normalises plays no part here.

    Returns:
        `pool`, "mean" or "first", if it pools; and `dense`, the settings of a `Dense` and the
        `path` of its folder, if it has one.

    Raises:
        FileNotFoundError: a file that it names does not exist.
        ValueError: it has modules of other kinds, or several of one, or pools otherwise.
    """
    if not (modules := folder / "modules.json").is_file():
        return {}
    types = [(each["type"].rsplit(".", 1)[-1], each) for each in read_json(modules)]
    known = ("Transformer", "Pooling", "Dense", "Normalize")
    if [name for name, _ in types] != [name for name in known if name in dict(types)]:
        raise ValueError(
            f"{modules} has {[name for name, _ in types]}, expected some of {', '.join(known)}, in "
            "this order"
        )
    settings = {
        name: _settings(modules, each) for name, each in types if name in ("Pooling", "Dense")
    }
    said = {}
    if "Pooling" in settings:
        modes = _modes(settings["Pooling"])
        if len(modes) != 1 or modes[0] not in _POOLS:
            path = settings["Pooling"]["path"] / "config.json"
            raise ValueError(f"{path} pools by {modes}, expected one of {sorted(_POOLS)}")
        said["pool"] = _POOLS[modes[0]]
    if "Dense" in settings:
        said["dense"] = {**_DENSE, **settings["Dense"]}
    return said


def _modes(pooling: dict[str, Any]) -> list[str]:
    """How it pools, which older versions have a switch each for."""
    if isinstance(modes := pooling.get("pooling_mode", []), str):
        return [modes]
    return modes or [
        re.sub(r"^pooling_mode_|_tokens?$", "", name)
        for name, on in pooling.items()
        if name.startswith("pooling_mode_") and on
    ]


def _settings(modules: Path, module: dict[str, Any]) -> dict[str, Any]:
    path = modules.parent / module["path"]
    if not (file := path / "config.json").is_file():
        # Encoders that pool their first token would not say so.
        raise FileNotFoundError(f"{file} does not exist, which {modules.name} names")
    return {**read_settings(file), "path": path}

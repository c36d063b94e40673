"""What Sentence Transformers' folders say of an encoder: how it pools tokens, and what follows."""

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.decoding.folders import MODULES, folders_of_modules
from gramalign.decoding.wording import default_prompt
from gramalign.models.linear import Linear
from gramalign.models.pretrained.transformer import Shape
from gramalign.models.pretrained.unread import KERNEL
from gramalign.settings import read_settings, settled

_POOLS = {"mean": "mean", "cls": "first"}
_ACTIVATIONS = {"Identity": None, "Tanh": jnp.tanh}
_DENSE = {
    **{"in_features": None, "out_features": None, "bias": True, "use_residual": False},
    "activation_function": "torch.nn.modules.activation.Tanh",
}
_KNOWN = ("Transformer", "Pooling", "Dense", "Normalize")


class Dense(Linear):
    """A linear map of what was pooled, and an activation.

    Args:
        shape: of the transformer before it.
        settings: as `said_by` gives them.

    Raises:
        ValueError: for another width than the transformer has.
    """

    def __init__(self, shape: Shape, settings: dict[str, Any]):
        if (wide := settings["in_features"]) != shape.width:
            raise ValueError(
                f"in_features is {wide} in {settings['path'].name}, expected {shape.width}, what "
                "is pooled"
            )
        sizes = {"use_bias": settings["bias"], "dtype": shape.dtype}
        super().__init__(wide, settings["out_features"], **sizes, **KERNEL)
        self.activation = _ACTIVATIONS[settings["activation_function"]]

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
        ValueError: it has modules of other kinds, or several of one, or pools otherwise, as without
            the tokens of a default prompt.
    """
    modules = folders_of_modules(folder)
    kinds, folders = [kind for kind, _ in modules], dict(modules)
    if kinds != [kind for kind in _KNOWN if kind in kinds]:
        raise ValueError(
            f"{folder / MODULES} has {kinds}, expected some of {', '.join(_KNOWN)}, in this order"
        )
    settings = {kind: _settings(folders[kind]) for kind in ("Pooling", "Dense") if kind in kinds}
    said = {}
    if "Pooling" in settings:
        modes = _modes(settings["Pooling"])
        if len(modes) != 1 or str(modes[0]) not in _POOLS:
            path = settings["Pooling"]["path"] / "config.json"
            cure = ""
            said_of_mean = {"pooling_mode", "pooling_mode_mean_tokens"} & set(settings["Pooling"])
            if "mean" in modes and not said_of_mean:
                cure = ": the mean is on where it is not off, by pooling_mode_mean_tokens: false"
            raise ValueError(f"{path} pools by {modes}, expected one of {sorted(_POOLS)}{cure}")
        said["pool"] = _POOLS[modes[0]]
        if settings["Pooling"].get("include_prompt") is False and default_prompt(folder):
            path = settings["Pooling"]["path"] / "config.json"
            raise ValueError(
                f"{path}: include_prompt is false, expected true where there is a default prompt: "
                "its tokens are pooled here"
            )
    if "Dense" in settings:
        said["dense"] = _dense(settings["Dense"])
    return said


def _dense(given: dict[str, Any]) -> dict[str, Any]:
    """What a `Dense` is made of."""
    try:
        found = settled(_DENSE, given)
        name = found["activation_function"].rsplit(".", 1)[-1]
        if name not in _ACTIVATIONS:
            raise ValueError(
                f"activation_function is {name!r}, expected any of {sorted(_ACTIVATIONS)}"
            )
        if found["use_residual"]:
            raise ValueError("use_residual is true, expected false")
    except ValueError as error:
        raise ValueError(f"{given['path'] / 'config.json'}: {error}") from error
    return {**found, "activation_function": name}


def _modes(pooling: dict[str, Any]) -> list[Any]:
    """How it pools, which older versions have a switch each for, that of the mean on if not off."""
    if modes := pooling.get("pooling_mode"):
        return modes if isinstance(modes, list) else [modes]
    return [
        re.sub(r"^pooling_mode_|_tokens?$", "", name)
        for name, on in ({"pooling_mode_mean_tokens": True} | pooling).items()
        if name.startswith("pooling_mode_") and on
    ]


def _settings(path: Path) -> dict[str, Any]:
    if not (file := path / "config.json").is_file():
        # Encoders that pool their first token would not say so.
        raise FileNotFoundError(f"{file} does not exist, which {MODULES} names")
    return {**read_settings(file), "path": path}

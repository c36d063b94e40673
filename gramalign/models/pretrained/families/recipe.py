"""What a family of checkpoints says: how its configuration becomes an encoder, and its names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from gramalign.models.linear import Linear
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.fronts import Patches
from gramalign.models.pretrained.transformer import ACTIVATIONS, Shape
from gramalign.settings import settled

Config = Mapping[str, Any]
Names = Mapping[str, str]
Weights = dict[str, np.ndarray]
Make = Callable[[Config, DTypeLike], Encoder]


@dataclass(frozen=True)
class Recipe:
    """One encoder of a family."""

    make: Make
    """From the configuration, and the dtype that it multiplies in."""
    names: Names
    """The checkpoint's name of each part of the encoder; `*` stands for a layer's number."""
    own: tuple[str, ...]
    """How the names of its weights begin in the checkpoint; none of those may be left over."""
    prefixes: tuple[str, ...] = ("",)
    """What may stand before all of these names."""
    part: str = ""
    """What a file with this part alone may leave out before all of these names."""
    unused: tuple[str, ...] = ()
    """How the names of those end that an encoder does not need."""
    adapted: Callable[[Weights], Weights] = lambda weights: weights
    """Renames, divides or joins weights, where one of the checkpoint is not one of the encoder."""


BASE: Config = {  # what Hugging Face takes where a configuration is silent, here as in each family
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
IMAGE: Config = {"num_channels": 3, "image_size": 224, "patch_size": 16}


def shape_of(config: Config, dtype: DTypeLike, **others: Any) -> Shape:
    """The layers of a configuration that has the names of `BASE`.

    Raises:
        ValueError: for an activation that is not known.
    """
    sizes = {
        "activation": known(config, "hidden_act"),
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "hidden": config["intermediate_size"],
        "eps": config["layer_norm_eps"],
    }
    return Shape(**{**sizes, "dtype": dtype, **others})


def known(config: Config, name: str) -> str:
    """The activation that a configuration has by a name.

    Raises:
        ValueError: it is none of `ACTIVATIONS`.
    """
    if config[name] not in ACTIVATIONS:
        raise ValueError(f"{name} is {config[name]!r}, expected any of {sorted(ACTIVATIONS)}")
    return config[name]


def pair(size: Any) -> tuple[int, int]:
    """Height and width, of which configurations give one or both."""
    high, wide = size if isinstance(size, list | tuple) else (size, size)
    return high, wide


def patches_of(shape: Shape, config: Config, **others: Any) -> Patches:
    """The front of a configuration that has the names of `IMAGE`."""
    size, patch = pair(config["image_size"]), pair(config["patch_size"])
    return Patches(shape, config["num_channels"], size, patch, **others)


def projection_of(config: Config, shape: Shape) -> Linear | None:
    """What comes after the pool, if a configuration has a `projection_dim`."""
    config = settled({"projection_dim": None, "projection_bias": False}, config)
    if (dim := config["projection_dim"]) is None:
        return None
    return shape.linear(shape.width, dim, bias=config["projection_bias"])


def width_of(shape: Shape, head: Linear | None) -> int:
    """Width of embeddings: of what a head makes, or of tokens."""
    return shape.width if head is None else head.out_features


def unpacked(weights: Weights) -> Weights:
    """Queries, keys and values by themselves, which torch's own attention has in one array."""
    found = {}
    for name, array in weights.items():
        before, packed, leaf = name.rpartition("in_proj_")
        if packed:
            parts = zip("qkv", np.split(array, 3), strict=True)
            found |= {f"{before}{each}_proj.{leaf}": part for each, part in parts}
        else:
            found[name] = array
    return found


def without_statistics(weights: Weights, before: str) -> Weights:
    """A `scale` and `shift` in the place of a batch norm, whose statistics are those of training.

    Args:
        weights: of a checkpoint.
        before: how the names of the batch norm begin; weights without it stay as they are.
    """
    names = [f"{before}{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    if set(names) <= weights.keys():
        weight, bias, mean, variance = (weights.pop(name).astype(np.float64) for name in names)
        scale = weight / np.sqrt(variance + 1e-5)
        weights |= {f"{before}scale": scale, f"{before}shift": bias - mean * scale}
    return weights


def layers(before: str, **parts: str) -> Names:
    """Names of each layer's parts."""
    return {f"body.layers.*.{part}": f"{before}.*.{name}" for part, name in parts.items()}


def projections(before: str, out: str = "out_proj", under: str = "attention.") -> dict[str, str]:
    """Names of the projections of an attention, as most families have them."""
    theirs = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": out}
    return {f"{under}{ours}": f"{before}.{name}" for ours, name in theirs.items()}

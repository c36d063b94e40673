"""Tiny pretrained models, as Hugging Face saves them, with weights drawn from their names."""

import json
import types
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
from flax import nnx

GOLDEN = Path(__file__).parents[2] / "golden" / "pretrained.json"


def drawn(name: str, shape: Sequence[int]) -> np.ndarray:
    """Numbers of some effect: large enough that a wrong layer shows."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found = np.asarray(0.3 * rng.normal(size=shape), np.float32)
    return np.exp(found) if name.endswith("running_var") else found


def write_weights(
    folder: Path,
    tensors: Mapping[str, Sequence[int]],
    more: Mapping[str, np.ndarray] = types.MappingProxyType({}),
) -> None:
    """Writes `model.safetensors` of the names and shapes given, and of `more` as it is."""
    arrays = {name: drawn(name, shape) for name, shape in tensors.items()} | dict(more)
    safetensors.numpy.save_file(arrays, folder / "model.safetensors", {"format": "pt"})


def drawn_inputs(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Inputs by the names that processors give them; the first text or sound ends in padding."""
    found = {}
    for name, shape in shapes.items():
        end = 2 * shape[-1] // 3
        if name == "input_ids":
            ids = np.random.default_rng(len(shapes)).integers(3, 50, shape).astype(np.int32)
            ids[..., 4] = 7  # where a text ends, for those who look for it
            if "attention_mask" in shapes:
                ids[0, end:] = 1
            found[name] = ids
        elif name == "attention_mask":
            mask = np.ones(shape, np.int32)
            mask[0, end:] = 0
            found[name] = mask
        else:
            found[name] = drawn(name, shape)
    return found


def fill(module: nnx.Module) -> None:
    """Draws a module's weights, which are zero until they are read, from their names."""
    for path, variable in nnx.to_flat_state(nnx.state(module)):
        variable[...] = drawn(str(path), variable.shape)


def golden() -> dict:
    """By case: `config`, `tensors`, `inputs` and `result` of `tests/golden/pretrained.py`."""
    found = json.loads(GOLDEN.read_text())
    del found["about"]
    return found


def write_model(folder: Path, case: Mapping) -> Path:
    """Writes the folder of one of those cases."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(case["config"]))
    write_weights(folder, case["tensors"])
    return folder

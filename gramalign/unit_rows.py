"""Embeddings from outside: checked, and normalised to unit rows, before anything compiles."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from gramalign.counted import counted

HostEmbeddings = Mapping[str, Float[np.ndarray | Array, "_examples _dim"]]
"""Per modality `[examples, dim]`, of any float dtype, on host or device; rows of any length."""

_AT_ONCE = 2**16  # rows that are copied at a time

HostPresent = Mapping[str, Bool[np.ndarray | Array, " _examples"]]
"""Per modality, where it is present; a modality without a mask is present everywhere."""


def check_by_name(embeddings: Any, argument: str = "embeddings") -> None:
    """Raises `TypeError` for anything but a mapping of names to arrays."""
    if isinstance(embeddings, Mapping):
        for name in embeddings:
            if not isinstance(name, str):
                raise TypeError(f"{argument}: got {name!r} for a modality, expected its name")
    else:
        raise TypeError(
            f"{argument}: got {type(embeddings).__name__}, expected one array [n, dim] for each "
            "modality, by name, such as {'text': array}"
        )


def check_alike(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], argument: str = "embeddings"
) -> int:
    """The number of examples, after checking that all modalities share it and the dim.

    Raises:
        ValueError: for an array that is not `[examples, dim]`, or sizes that differ.
    """
    shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
    if any(values.ndim != 2 for values in arrays.values()):
        raise ValueError(f"{argument}: got {shapes}, expected [examples, dim] for every modality")
    if len({len(values) for values in arrays.values()}) > 1:
        raise ValueError(
            f"{argument}: got different numbers of examples: {shapes}; row i must be the same "
            "example in every modality: give absent ones a row too and mark them in `present`"
        )
    if len({values.shape[1] for values in arrays.values()}) > 1:
        raise ValueError(
            f"{argument}: got different dims: {shapes}; "
            "project the modalities into one space before comparing them"
        )
    return len(next(iter(arrays.values())))


def every_mask(
    present: HostPresent, modalities: tuple[str, ...], examples: int
) -> dict[str, Bool[np.ndarray, " examples"]]:
    """A mask for every modality, all True where none was given.

    Raises:
        ValueError: a mask of another shape or dtype, or for an unknown modality.
    """
    unknown = sorted(set(present) - set(modalities))
    if unknown:
        raise ValueError(
            f"present: got a mask for {', '.join(unknown)}, but the modalities are "
            f"{', '.join(modalities)}; rename the mask or embed that modality"
        )
    masks = {}
    for name in modalities:
        mask = np.asarray(present[name]) if name in present else np.ones(examples, bool)
        if mask.shape != (examples,) or mask.dtype != np.bool_:
            raise ValueError(
                f"present[{name!r}]: got {mask.dtype} {mask.shape}, expected bool ({examples},); "
                "give one truth value to every example"
            )
        masks[name] = mask
    return masks


def unit_rows(
    name: str,
    values: Float[np.ndarray, "n d"],
    present: Bool[np.ndarray, " n"],
    argument: str = "embeddings",
) -> Float[np.ndarray, "n d"]:
    """Rows of length 1 in float32; zeros where absent, or where all entries are zero.

    Raises:
        ValueError: for an array that is not of real numbers, or a present row with NaN or Inf.
    """
    if not (jnp.issubdtype(values.dtype, jnp.floating) or np.issubdtype(values.dtype, np.integer)):
        raise ValueError(
            f"{argument}[{name!r}]: got an array of {values.dtype}, expected one of real numbers; "
            "convert it, .astype(np.float32)"
        )
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(values), _AT_ONCE)]
    bad = np.zeros(len(values), bool)
    for some in parts:
        bad[some] = present[some] & ~np.isfinite(values[some]).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{argument}[{name!r}]: row {np.flatnonzero(bad)[0]} holds NaN or Inf "
            f"({counted(int(bad.sum()), 'such row')}); find the layer or input that makes it, or "
            "mark the row as absent in `present`"
        )
    rows = np.zeros(values.shape, np.float32)
    for some in parts:
        rows[some] = _normalised(np.where(present[some, None], values[some], 0))
    return rows


def _normalised(values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    values = values.astype(np.promote_types(values.dtype, np.float32))
    # Two steps, so that squares of very large or small entries neither overflow nor vanish; the
    # first in the input's precision, whose range may exceed float32's.
    largest = np.abs(values).max(axis=1, initial=0, keepdims=True)
    values = (values / np.where(largest == 0, 1, largest)).astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length == 0, 1, length)

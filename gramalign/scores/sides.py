"""The first steps of every Score: check the embeddings, pick modalities, zero absent ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PyTree

from gramalign.geometry import norm, normalize
from gramalign.geometry.tuples import take_apart
from gramalign.mesh import split_as
from gramalign.scores.products import as_factor
from gramalign.scores.protocol import Side
from gramalign.types import Embeddings, Present

UNIT_TOLERANCE = 1e-2
"""Tolerance on the length of a unit row; rounding to bfloat16 uses up two fifths of it at most."""


def check_embeddings(embeddings: Embeddings, present: Present | None) -> None:
    """Raise an error unless all modalities have one shape `[batch, dim]` and masks `[batch]`.

    Raises:
        TypeError: for anything but a mapping of names to arrays.
        ValueError: for fewer than two modalities, or shapes and dtypes that do not fit.
    """
    shapes = {name: shape for name, (shape, _) in _arrays("embeddings", embeddings).items()}
    masks = {} if present is None else _arrays("present", present)
    if len(embeddings) < 2:
        raise ValueError(
            f"embeddings must hold at least two modalities to compare, got {sorted(embeddings)}"
        )
    first = next(iter(shapes.values()))
    if len(first) != 2 or any(shape != first for shape in shapes.values()):
        raise ValueError(f"embeddings must all have one shape [batch, dim], got {shapes}")
    if 0 in first:
        raise ValueError(f"embeddings must hold at least one example and number, got shape {first}")
    for name, x in embeddings.items():
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"embeddings[{name!r}] must be floating point, got {x.dtype}")
    for name, (shape, dtype) in masks.items():
        check_modality("present", name, embeddings)
        if shape != first[:1] or dtype != jnp.bool_:
            raise ValueError(
                f"present[{name!r}] must be bool of shape {first[:1]}, got {dtype} of shape {shape}"
            )


def _arrays(argument: str, mapping: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and dtype by name; raises `TypeError` for anything but a mapping of names to arrays."""
    if not isinstance(mapping, Mapping):
        raise TypeError(
            f"{argument} must map modality names to arrays, got {type(mapping).__name__}"
        )
    for name, x in mapping.items():
        if not isinstance(x, (jax.Array, np.ndarray, jax.ShapeDtypeStruct)):
            raise TypeError(
                f"{argument}[{name!r}] must be a JAX or NumPy array, got {type(x).__name__}"
            )
    return {name: (tuple(x.shape), x.dtype) for name, x in mapping.items()}


def check_modality(argument: str, name: str, embeddings: Embeddings) -> None:
    """Raise `ValueError`, listing the modalities, unless `name` is one of them."""
    if name not in embeddings:
        raise ValueError(f"{argument} is {name!r}, but the modalities are {sorted(embeddings)}")


def check_unit(embeddings: Embeddings, present: Present | None) -> None:
    """Raise `ValueError` if a present row has neither length 1 nor length 0.

    Only concrete arrays are checked: a traced array is accepted at no cost. NaN is accepted too,
    and shows up in the loss.
    """
    vectors = list(embeddings.values())
    masks = [mask_of(embeddings, present, name) for name in embeddings]
    if _traced(vectors, masks):
        return
    lengths = _lengths_off_one(vectors, masks)
    if _traced(lengths):  # constants of a function that is being traced
        return
    for name, found in zip(embeddings, lengths, strict=True):
        least, most = map(float, found)
        if most > 0:
            raise ValueError(
                f"embeddings[{name!r}] must hold rows of length 1, got lengths from {least:.3g} to "
                f"{most:.3g}: apply gramalign.normalize first"
            )


def _traced(*trees: PyTree) -> bool:
    return any(isinstance(x, Tracer) for x in jax.tree.leaves(trees))


@jax.jit
def _lengths_off_one(
    vectors: Sequence[Float[Array, "batch d"]], masks: Sequence[Bool[Array, " batch"]]
) -> list[tuple[Float[Array, ""], Float[Array, ""]]]:
    """The smallest and the largest wrong length of each modality; inf and 0 if none is wrong."""

    def range_of(x: Float[Array, "batch d"], kept: Bool[Array, " batch"]) -> tuple[Array, Array]:
        length = norm(x)
        wrong = kept & (length > 0) & (jnp.abs(length - 1) > UNIT_TOLERANCE)
        least = jnp.min(jnp.where(wrong, length, jnp.inf), initial=jnp.inf)
        return least, jnp.max(jnp.where(wrong, length, 0), initial=0)

    return [range_of(x, kept) for x, kept in zip(vectors, masks, strict=True)]


def stack(
    embeddings: Embeddings, present: Present | None, names: Sequence[str]
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """The named modalities as tuples `[batch, k, d]`, and which are present, `[batch, k]`."""
    vectors = jnp.stack([embeddings[name] for name in names], axis=1)
    masks = [mask_of(embeddings, present, name) for name in names]
    return vectors, jnp.stack(masks, axis=1)


def mask_of(embeddings: Embeddings, present: Present | None, name: str) -> Bool[Array, " batch"]:
    """Where one modality is present: everywhere if the mapping has no entry for it."""
    mask = (present or {}).get(name)
    x = embeddings[name]
    return split_as(jnp.ones(x.shape[0], bool) if mask is None else jnp.asarray(mask), x)


def one(embeddings: Embeddings, present: Present | None, argument: str, name: str) -> Side:
    """One modality as a side: a factor `[batch, dim]`, zeros where it is absent."""
    check_embeddings(embeddings, present)
    check_modality(argument, name, embeddings)
    vectors = as_factor(embeddings[name], embeddings[name].dtype)
    mask = (present or {}).get(name)
    if mask is not None:
        vectors = jnp.where(mask[:, None], vectors, 0)
    return Side(vectors, mask_of(embeddings, present, name))


def rest(
    embeddings: Embeddings, present: Present | None, argument: str, name: str
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """All modalities but one as tuples, and which are present."""
    check_embeddings(embeddings, present)
    check_modality(argument, name, embeddings)
    return stack(embeddings, present, [other for other in embeddings if other != name])


def whole(
    embeddings: Embeddings, present: Present | None
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """All modalities as tuples, and which are present."""
    check_embeddings(embeddings, present)
    return stack(embeddings, present, list(embeddings))


def centroid(
    vectors: Float[Array, "batch k d"], kept: Bool[Array, "batch k"]
) -> tuple[Float[Array, "batch d"], Bool[Array, " batch"]]:
    """The normalised sum of a tuple's present vectors, and whether it has any.

    In at least float32; zero, with derivative zero, where they sum to zero.
    """
    first, *others = take_apart(vectors, kept)
    return normalize(sum(others, start=first)), jnp.any(kept, axis=1)

"""What all Scores do first: check the embeddings, pick modalities, blank out the absent ones."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry import normalize
from gramalign.geometry.tuples import take_apart
from gramalign.scores.products import as_factor
from gramalign.scores.protocol import Side
from gramalign.types import Embeddings, Present


def check_embeddings(embeddings: Embeddings, present: Present | None) -> None:
    """Raise `ValueError` unless all modalities are `[batch, dim]` alike and masks `[batch]`."""
    if len(embeddings) < 2:
        raise ValueError(
            f"embeddings must hold at least two modalities to compare, got {sorted(embeddings)}"
        )
    shapes = {name: tuple(x.shape) for name, x in embeddings.items()}
    first = next(iter(shapes.values()))
    if len(first) != 2 or any(shape != first for shape in shapes.values()):
        raise ValueError(f"embeddings must all have one shape [batch, dim], got {shapes}")
    for name, x in embeddings.items():
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"embeddings[{name!r}] must be floating point, got {x.dtype}")
    for name, mask in (present or {}).items():
        check_modality("present", name, embeddings)
        if tuple(mask.shape) != first[:1] or mask.dtype != jnp.bool_:
            raise ValueError(
                f"present[{name!r}] must be bool of shape {first[:1]}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )


def check_modality(argument: str, name: str, embeddings: Embeddings) -> None:
    """Raise `ValueError`, naming the modalities there are, unless `name` is one of them."""
    if name not in embeddings:
        raise ValueError(f"{argument} is {name!r}, but the modalities are {sorted(embeddings)}")


def stack(
    embeddings: Embeddings, present: Present | None, names: Sequence[str]
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """The named modalities as tuples `[batch, k, d]`, and which of them are there `[batch, k]`."""
    vectors = jnp.stack([embeddings[name] for name in names], axis=1)
    masks = [mask_of(embeddings, present, name) for name in names]
    return vectors, jnp.stack(masks, axis=1)


def mask_of(embeddings: Embeddings, present: Present | None, name: str) -> Bool[Array, " batch"]:
    """Where one modality is present; everywhere if the mapping does not say."""
    if present is not None and name in present:
        return present[name]
    return jnp.ones(embeddings[name].shape[0], bool)


def one(embeddings: Embeddings, present: Present | None, argument: str, name: str) -> Side:
    """One modality as a side: a factor `[batch, dim]`, zeros where it is absent."""
    check_embeddings(embeddings, present)
    check_modality(argument, name, embeddings)
    mask = mask_of(embeddings, present, name)
    vectors = as_factor(embeddings[name], embeddings[name].dtype)
    return Side(jnp.where(mask[:, None], vectors, 0), mask)


def rest(
    embeddings: Embeddings, present: Present | None, argument: str, name: str
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """All modalities but one as tuples, and which of them are there."""
    check_embeddings(embeddings, present)
    check_modality(argument, name, embeddings)
    return stack(embeddings, present, [other for other in embeddings if other != name])


def whole(
    embeddings: Embeddings, present: Present | None
) -> tuple[Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """All modalities as tuples, and which of them are there."""
    check_embeddings(embeddings, present)
    return stack(embeddings, present, list(embeddings))


def only(
    embeddings: Embeddings, present: Present | None, names: Sequence[str]
) -> tuple[Embeddings, Present]:
    """The named modalities alone, and their masks."""
    masks = {name: mask for name, mask in (present or {}).items() if name in names}
    return {name: embeddings[name] for name in names}, masks


def centroid(
    vectors: Float[Array, "batch k d"], kept: Bool[Array, "batch k"]
) -> tuple[Float[Array, "batch d"], Bool[Array, " batch"]]:
    """Direction of the sum of a tuple's vectors that are there, and where there are any.

    In at least float32; zero, with derivative zero, where they sum to zero.
    """
    first, *others = take_apart(vectors, kept)
    return normalize(sum(others, start=first)), jnp.any(kept, axis=1)

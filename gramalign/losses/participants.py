"""Which examples take part in a loss, and means over them."""

from collections.abc import Callable, Iterable
from itertools import combinations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32, check_array
from gramalign.mesh import split_as
from gramalign.scores.sides import check_embeddings, check_modality, mask_of
from gramalign.types import Embeddings, Present


def participants(
    embeddings: Embeddings, present: Present | None = None, anchor: str | None = None
) -> Bool[Array, " batch"]:
    """Which examples take part in a loss: two modalities or more, the anchor among them.

    A loss gives the others 0, which would pull down its mean: average by `masked_mean`.

    Args:
        embeddings: by modality, `[batch, dim]`.
        present: which examples have which modality; None: all have all.
        anchor: the loss's own, which must be present; None, for a loss without one or of each
            anchor in turn: any two modalities will do.

    Returns:
        `[batch]`.

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, or shapes that differ.

    >>> import jax.numpy as jnp
    >>> two = {"text": jnp.eye(2), "audio": jnp.eye(2)}
    >>> taking_part = participants(two, {"audio": jnp.array([True, False])}, anchor="text")
    >>> taking_part.tolist()
    [True, False]
    >>> values = jnp.array([0.7, 0.0])  # of a loss
    >>> round(float(masked_mean(values, taking_part)), 3)
    0.7
    """
    check_embeddings(embeddings, present)
    if anchor is not None:
        check_modality("anchor", anchor, embeddings)
    masks = jnp.stack([mask_of(embeddings, present, name) for name in embeddings])
    enough = jnp.sum(masks, axis=0, dtype=jnp.int32) >= 2
    return enough if anchor is None else enough & mask_of(embeddings, present, anchor)


def masked_mean(
    values: Float[Array, " batch"], where: Bool[np.ndarray | Array, " batch"]
) -> Float[Array, ""]:
    """Mean of the values where `where` is True, in at least float32; 0 if it is nowhere.

    Of a loss, the mean over the examples that take part in it: `where` from `participants`.

    Raises:
        ValueError: unless `where` is bool, of the values' shape.
        TypeError: for anything but arrays.

    >>> import jax.numpy as jnp
    >>> float(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    check_array("values", values)
    check_array("where", where)
    if where.dtype != jnp.bool_ or where.shape != values.shape:
        raise ValueError(
            f"where must be bool of shape {values.shape}, got {where.dtype} of shape {where.shape}"
        )
    values = at_least_float32(values)
    where = split_as(jnp.asarray(where), values)
    number = jnp.sum(where, dtype=jnp.int32).astype(values.dtype)
    return jnp.sum(jnp.where(where, values, 0)) / jnp.maximum(number, 1)


def mean_over(
    anchors: Iterable[str],
    loss: Callable[[str], Float[Array, " batch"]],
    embeddings: Embeddings,
    present: Present | None,
) -> Float[Array, " batch"]:
    """Mean of a loss over the anchors that an example takes part with; 0 if there is none.

    Args:
        anchors: the modalities.
        loss: of one anchor, `[batch]`, 0 where an example takes no part.
        embeddings: by modality, `[batch, dim]`.
        present: which examples have which modality.
    """
    each = [(loss(name), participants(embeddings, present, name)) for name in anchors]
    return mean_of(*map(jnp.stack, zip(*each, strict=True)))


def mean_over_pairs(
    loss: Callable[[Array, Array, Array], Float[Array, " batch"]],
    embeddings: Embeddings,
    present: Present | None,
) -> Float[Array, " batch"]:
    """Mean of a loss over the pairs of modalities that an example has; 0 if there is none.

    Args:
        loss: of two modalities' rows, in at least float32, and of which examples have both:
            `[batch]`, 0 where an example has not.
        embeddings: by modality, `[batch, dim]`.
        present: which examples have which modality.
    """
    sides = [(at_least_float32(x), mask_of(embeddings, present, m)) for m, x in embeddings.items()]
    pairs = [(x, y, here & there) for (x, here), (y, there) in combinations(sides, 2)]
    each = [(loss(*pair), pair[2]) for pair in pairs]
    return mean_of(*map(jnp.stack, zip(*each, strict=True)))


def mean_of(
    values: Float[Array, "tasks batch"], taking_part: Bool[Array, "tasks batch"]
) -> Float[Array, " batch"]:
    """Each example's mean over the tasks that it takes part in; 0 if there is none."""
    number = jnp.sum(taking_part, axis=0, dtype=jnp.int32)
    total = jnp.sum(values, axis=0)
    return total / jnp.maximum(number, 1).astype(total.dtype)

"""Columns that are no one's: each modality of another example, as shuffling has it."""

from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from gramalign.contrast.blocks import NOBODY
from gramalign.contrast.competition import Candidates
from gramalign.mesh import AxisName, gathered
from gramalign.scores import ProductScore
from gramalign.types import Embeddings, Present


def shuffle(
    taking_part: Bool[Array, " n"], shift: int, key: PRNGKeyArray | None
) -> Int[Array, " n"]:
    """An order of the examples in which those that take part come first.

    Args:
        taking_part: who does.
        shift: without a key, they are shifted cyclically by so many places among each other.
        key: otherwise they are permuted at random.

    >>> import jax.numpy as jnp
    >>> shuffle(jnp.array([True, False, True, True]), 1, None).tolist()
    [2, 3, 0, 1]
    """
    size = taking_part.shape[0]
    order = jnp.arange(size, dtype=jnp.int32)
    if key is not None:
        order = jax.random.permutation(key, order)
    order = order[jnp.argsort(~taking_part[order], stable=True)]
    if key is not None:
        return order
    place = jnp.arange(size, dtype=jnp.int32)
    number = jnp.sum(taking_part, dtype=jnp.int32)
    return order[jnp.where(place < number, (place + shift) % jnp.maximum(number, 1), place)]


def recombined(
    score: ProductScore,
    embeddings: Embeddings,
    kept: Present,
    groups: Int[Array, " b"],
    numbers: Int[Array, " b"],
    key: PRNGKeyArray | None,
    axis_name: AxisName | None,
) -> Candidates:
    """As many columns as examples, every modality but the anchor in an order of its own.

    Args:
        score: gives the factors of columns.
        embeddings: of this device's examples.
        kept: the modalities but the anchor, where they are there to be recombined.
        groups: from 0. A column is of a group if all that it has is of it, otherwise nobody's.
        numbers: of this device's examples in the whole batch.
        key: for orders at random.
        axis_name: of the mesh; every device gathers the embeddings of all.
    """
    taking_part = gathered(reduce(jnp.logical_or, kept.values()), axis_name)
    everyone = gathered(groups, axis_name)
    columns, there, smallest, largest = {score.anchor: embeddings[score.anchor]}, {}, [], []
    for place, name in enumerate(kept):
        own_key = None if key is None else jax.random.fold_in(key, place)
        chosen = shuffle(taking_part, place, own_key)[numbers]
        columns[name] = gathered(embeddings[name], axis_name)[chosen]
        there[name] = gathered(kept[name], axis_name)[chosen]
        group = everyone[chosen]
        smallest.append(jnp.where(there[name], group, jnp.iinfo(group.dtype).max))
        largest.append(jnp.where(there[name], group, NOBODY))
    low, high = reduce(jnp.minimum, smallest), reduce(jnp.maximum, largest)
    return Candidates(score.cols(columns, there), jnp.where(low == high, low, NOBODY))

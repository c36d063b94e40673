"""Recombined columns: each modality from another example, by shuffling."""

from collections.abc import Mapping
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from gramalign.contrast import Engine, rows_at
from gramalign.contrast.blocks import NOBODY, own_numbers
from gramalign.contrast.competition import Candidates
from gramalign.mesh import AxisName, gathered
from gramalign.scores import ProductScore
from gramalign.types import Embeddings


def shuffled(
    ranks: Int[Array, " n"],
    number: Int[Array, ""],
    shift: int,
    key: PRNGKeyArray | None,
    most: int,
) -> Int[Array, " n"]:
    """The index of the example that each one receives in the shuffle.

    Args:
        ranks: of the receiving examples among those that are shuffled, from 0.
        number: of examples that are shuffled.
        shift: without a key, each receives the one so many places further on, cyclically.
        key: with a key, they are permuted at random.
        most: a static upper bound on `number`, the same on all devices.

    >>> import jax.numpy as jnp
    >>> shuffled(jnp.arange(3), jnp.array(3), 1, None, 4).tolist()
    [1, 2, 0]
    """
    if key is None:
        return (ranks + shift) % jnp.maximum(number, 1)
    order = jax.random.permutation(key, jnp.arange(most, dtype=jnp.int32))
    return order[jnp.argsort(order >= number, stable=True)][ranks]


def recombined(
    score: ProductScore,
    embeddings: Embeddings,
    kept: Mapping[str, Bool[Array, " b"]],
    groups: Int[Array, " b"],
    key: PRNGKeyArray | None,
    axis_name: AxisName | None,
    engine: Engine,
) -> Candidates:
    """As many columns as examples, every modality but the anchor in an order of its own.

    Args:
        score: computes the columns' factors.
        embeddings: of this device's examples.
        kept: masks of the modalities but the anchor, True where they are to be recombined.
        groups: from 0. A column belongs to a group if all of its parts do, otherwise to none.
        key: for random permutations.
        axis_name: the mesh axis whose examples are all recombined.
        engine: decides whether each device gathers all embeddings, or they travel round a ring.
    """
    takes = reduce(jnp.logical_or, kept.values())
    rows, places, number = _taking_part(takes, axis_name)
    columns, there, smallest, largest = {score.anchor: embeddings[score.anchor]}, {}, [], []
    for shift, (name, mask) in enumerate(kept.items()):
        part = embeddings[name], mask, groups
        if key is not None or shift:  # else everyone's own
            own_key = None if key is None else jax.random.fold_in(key, shift)
            wanted = rows[shuffled(places, number, shift, own_key, len(rows))]
            wanted = jnp.where(takes, wanted, NOBODY)
            part = rows_at(part, wanted, axis_name=axis_name, engine=engine)
        columns[name], there[name], group = part
        smallest.append(jnp.where(there[name], group, jnp.iinfo(groups.dtype).max))
        largest.append(jnp.where(there[name], group, NOBODY))
    low, high = reduce(jnp.minimum, smallest), reduce(jnp.maximum, largest)
    return Candidates(score.cols(columns, there), jnp.where(low == high, low, NOBODY))


def _taking_part(
    takes: Bool[Array, " b"], axis_name: AxisName | None
) -> tuple[Int[Array, " n"], Int[Array, " b"], Int[Array, ""]]:
    """Numbers of the examples of all devices that take part; own places among them; their count."""
    every = gathered(takes, axis_name)
    (rows,) = jnp.nonzero(every, size=every.size, fill_value=NOBODY)
    until = jnp.cumsum(every, dtype=jnp.int32)
    places = until[own_numbers(takes.size, axis_name)] - 1
    return rows.astype(jnp.int32), jnp.maximum(places, 0), until[-1]

"""Recombined columns: each modality from another example, by shuffling."""

from collections.abc import Mapping
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from gramalign.contrast.blocks import NOBODY, Block, places_in, split, unsplit
from gramalign.contrast.competition import Candidates
from gramalign.contrast.engine import Engine
from gramalign.contrast.exchange import choose, exchange, sums
from gramalign.mesh import AxisName, gathered, varying_as, zeros_as
from gramalign.scores import ProductScore, Side
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
    size = groups.shape[0]
    takes = reduce(jnp.logical_or, kept.values())
    places, number, most = _places(takes, axis_name)
    columns, there, smallest, largest = {score.anchor: embeddings[score.anchor]}, {}, [], []
    for shift, (name, mask) in enumerate(kept.items()):
        if key is None and shift == 0:
            found = Block(embeddings[name], mask, groups)  # everyone's own
        else:
            own_key = None if key is None else jax.random.fold_in(key, shift)
            wanted = jnp.where(takes, shuffled(places, number, shift, own_key, most), NOBODY)
            axis = choose(axis_name, engine.strategy, embeddings[name])
            offered = split(Side(embeddings[name], mask), groups, size, axis, numbers=places)
            found = _fetched(axis, varying_as(offered, offered.factors), wanted)
        columns[name], there[name] = found.factors, found.valid
        smallest.append(jnp.where(found.valid, found.group, jnp.iinfo(groups.dtype).max))
        largest.append(jnp.where(found.valid, found.group, NOBODY))
    low, high = reduce(jnp.minimum, smallest), reduce(jnp.maximum, largest)
    return Candidates(score.cols(columns, there), jnp.where(low == high, low, NOBODY))


def _places(
    takes: Bool[Array, " b"], axis_name: AxisName | None
) -> tuple[Int[Array, " b"], Int[Array, ""], int]:
    """Numbers of the examples taking part, over all devices; their count, and its upper bound."""
    until = jnp.cumsum(takes, dtype=jnp.int32)
    totals = gathered(until[-1:], axis_name)
    if axis_name is not None:
        before = jnp.arange(totals.size, dtype=jnp.int32) < jax.lax.axis_index(axis_name)
        until += jnp.sum(jnp.where(before, totals, 0), dtype=jnp.int32)
    number = jnp.sum(totals, dtype=jnp.int32)
    return jnp.where(takes, until - 1, NOBODY), number, takes.size * totals.size


def _found(offered: Block, wanted: Int[Array, " b"]) -> tuple[Int[Array, " b"], Bool[Array, " b"]]:
    """The places of the wanted examples among the offered, and whether each is there."""
    places = offered.numbers().ravel()
    at = places_in(jax.lax.cummax(places), wanted)
    return at, (wanted != NOBODY) & (places.at[at].get(mode="fill", fill_value=NOBODY) == wanted)


def _fetch(axis, offered, wanted):
    def visit(found, visiting, _):
        at, here = _found(visiting, wanted)

        def pick(found, x):
            x = x.reshape(-1, *x.shape[2:]).at[at].get(mode="clip")
            return jnp.where(jnp.expand_dims(here, range(1, x.ndim)), x, found)

        return jax.tree.map(pick, found, visiting), None

    nothing = zeros_as(unsplit(offered, wanted.size))
    found, _ = exchange(visit, nothing, offered, axis)
    return found, (offered._replace(factors=None), wanted)


def _bring_back(axis, saved, cotangents):
    offered, wanted = saved
    slopes = cotangents.factors

    def nothing(visiting):
        shape = (*visiting.numbers().shape, *slopes.shape[1:])
        return varying_as(jnp.zeros(shape, slopes.dtype), slopes)

    def visit(_, visiting, d_offered):
        at, here = _found(visiting, wanted)
        more = jnp.where(here[:, None], slopes, 0)
        flat = d_offered.reshape(-1, *slopes.shape[1:])
        # No example is wanted twice, so this adds one number to 0 and rounds nothing.
        return None, flat.at[at].add(more, mode="drop").reshape(d_offered.shape)

    _, d_offered = exchange(visit, None, offered, axis, sums(nothing))
    return offered._replace(factors=d_offered, valid=None, group=None, number=None), None


# The wanted examples, of those that all devices offer; zeros where NOBODY is wanted. A custom
# derivative, because that of a loop would store every device's visit.
_fetched = jax.custom_vjp(lambda *arguments: _fetch(*arguments)[0], nondiff_argnums=(0,))
_fetched.defvjp(_fetch, _bring_back)

"""Rows meet the columns of every device, and what the columns collect there comes home.

The batch is split over a mesh axis (inside `jax.shard_map`), each device holding its own rows and
columns. Two forms bring them together, and what they yield is the same:

* gather: every device holds all columns at once, and what they have collected there is reduced
  and scattered. One collective each way; memory grows with the number of devices.
* ring: the columns travel from neighbour to neighbour with what they have collected, in two halves:
  while one is visiting, the other is on its way. So communication hides behind computation, and one
  and a half times a device's columns is all that is ever alive, however many devices there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gramalign.mesh import AxisName, gathered, in_mesh_order, zeros_as

Strategy = Literal["gather", "ring"]

# Gathered columns and their derivative cost this much twice. Up to there they are one collective
# and a fraction of what towers take; beyond, the ring's memory, which does not grow, wins.
GATHER_LIMIT = 128 * 2**20


@dataclass(frozen=True)
class Axis:
    """A mesh axis (or several) that the batch is split over, and the form of the exchange."""

    name: AxisName
    strategy: Strategy


def choose(axis_name: AxisName | None, strategy: Strategy | None, cols: PyTree) -> Axis | None:
    """The exchange to use: by name or, for None, by the bytes of all devices' columns."""
    if axis_name is None:
        return None
    if strategy is None:
        local = sum(prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(cols))
        everything = local * jax.lax.axis_size(axis_name)
        strategy = "gather" if everything <= GATHER_LIMIT else "ring"
    return Axis(axis_name, strategy)


class Collecting(NamedTuple):
    """What columns collect on their visits.

    Attributes:
        nothing: from columns to what they have collected before any visit, stacked like them.
        home: from what all devices' columns, one device's behind the other's, have collected here,
            to what this device's columns have collected on all devices.
    """

    nothing: Callable[[PyTree], PyTree]
    home: Callable[[PyTree, AxisName], PyTree]


def sums(like: Callable[[PyTree], PyTree]) -> Collecting:
    """Collecting what adds up, in the shapes and dtypes of `like(columns)`."""
    return Collecting(
        nothing=lambda cols: zeros_as(like(cols)),
        home=lambda x, axis_name: jax.lax.psum_scatter(x, axis_name, tiled=True),
    )


NOTHING = Collecting(lambda cols: None, lambda collected, axis_name: None)


def exchange(
    visit: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]],
    stay: PyTree,
    cols: PyTree[Array],
    axis: Axis | None,
    collecting: Collecting = NOTHING,
) -> tuple[PyTree, PyTree]:
    """Let this device's rows be visited by the columns of all devices, its own among them.

    Args:
        visit: takes what stays here, some columns (any number of blocks of them), and what these
            have collected so far, stacked like them; gives what stays and what is collected now.
        stay: what the rows have collected at the start.
        cols: this device's columns, stacked blocks: every leaf is `[blocks, ...]`, for a ring an
            even number of them.
        axis: which devices, and how; None: there is only this one.
        collecting: what the columns collect.

    Returns:
        What stays, and what this device's columns have collected on all devices.
    """
    if axis is None:
        return visit(stay, cols, collecting.nothing(cols))
    if axis.strategy == "gather":
        cols = gathered(cols, axis.name)
        stay, collected = visit(stay, cols, collecting.nothing(cols))
        return stay, collecting.home(collected, axis.name)

    name = in_mesh_order(axis.name)
    number = jax.lax.axis_size(name)
    to_next = [(device, (device + 1) % number) for device in range(number)]

    def step(state: tuple[PyTree, PyTree, PyTree], _: None) -> tuple[tuple, None]:
        stay, (cols, collected), away = state
        coming = jax.tree.map(lambda x: jax.lax.ppermute(x, name, to_next), away)
        stay, collected = visit(stay, cols, collected)
        return (stay, coming, (cols, collected)), None

    half = jax.tree.leaves(cols)[0].shape[0] // 2
    travelling = cols, collecting.nothing(cols)
    first = jax.tree.map(lambda x: x[:half], travelling)
    second = jax.tree.map(lambda x: x[half:], travelling)
    # Twice as many steps as devices: both halves have then visited each and are at home again.
    (stay, first, second), _ = jax.lax.scan(step, (stay, first, second), length=2 * number)
    return stay, jax.tree.map(lambda *halves: jnp.concatenate(halves), first[1], second[1])

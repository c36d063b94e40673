"""Rows meet the columns of every device, and what the columns collect there returns to them.

The batch is split over a mesh axis (inside `jax.shard_map`), each device holding its own rows and
columns. Two strategies bring them together, with the same result:

* gather: every device holds all columns at once, and what they have collected there is reduced
  and scattered. One collective each way; memory grows with the number of devices.
* ring: the columns travel from neighbour to neighbour with what they have collected, in two halves:
  while one is visiting, the other is on its way. So communication hides behind computation, and at
  most one and a half times a device's columns are ever alive, however many devices there are.
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

# Gathered columns and their derivative each take this much. Up to here, they are one collective and
# a fraction of the towers' memory; beyond, the ring's constant memory wins.
GATHER_LIMIT = 128 * 2**20


@dataclass(frozen=True)
class Axis:
    """A mesh axis (or several) that the batch is split over, and the strategy of the exchange."""

    name: AxisName
    strategy: Strategy


def choose(axis_name: AxisName | None, strategy: Strategy | None, cols: PyTree) -> Axis | None:
    """The exchange to use: as given or, for None, by the bytes of all devices' columns."""
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
        nothing: from columns to the initial value of what they collect, stacked like them.
        home: from what all devices' columns, concatenated by device, have collected here to what
            this device's columns have collected on all devices.
    """

    nothing: Callable[[PyTree], PyTree]
    home: Callable[[PyTree, AxisName], PyTree]


def sums(like: Callable[[PyTree], PyTree]) -> Collecting:
    """Collecting sums, in the shapes and dtypes of `like(columns)`."""
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
    """Let the columns of all devices, this one's included, visit this device's rows.

    Args:
        visit: takes what the rows have collected, some columns (any number of blocks), and what
            these have collected so far, stacked like them; returns the rows' and the columns'
            update.
        stay: what the rows have collected at the start.
        cols: this device's columns, stacked blocks: every leaf is `[blocks, ...]`, for a ring an
            even number of them.
        axis: which devices, and how; None: only this one.
        collecting: what the columns collect.

    Returns:
        What the rows have collected, and what this device's columns have on all devices.
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
    # Twice as many steps as devices: then both halves have visited each, and are home again.
    (stay, first, second), _ = jax.lax.scan(step, (stay, first, second), length=2 * number)
    return stay, jax.tree.map(lambda *halves: jnp.concatenate(halves), first[1], second[1])

"""Cuts the two sides of a score matrix into blocks, so that only one tile exists at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from gramalign.contrast.exchange import Axis
from gramalign.geometry.norms import at_least_float32
from gramalign.mesh import AxisName, check_axis, check_on_mesh, gathered
from gramalign.scores import Side

NOBODY = -1
"""The number that padding gets, and the group of a column that is in no row's group."""


class Block(NamedTuple):
    """Examples on one side: a Score's factors, which examples are valid, and which pairs compete.

    Row i and column j compete if both are valid and their groups differ. By default an example's
    group is its own number, so that only its match does not compete with it. `number` is given
    where a group's other members must be told from the match.
    """

    factors: PyTree[Array]
    valid: Bool[Array, "*n"]
    group: Int[Array, "*n"]
    number: Int[Array, "*n"] | None = None

    def numbers(self) -> Int[Array, "*n"]:
        """The numbers; raises a TypeError for a block without them."""
        if self.number is None:
            raise TypeError("this block has no numbers: give them to split")
        return self.number


def split(
    side: Side,
    groups: Int[Array, " n"],
    tile: int,
    axis: Axis | None = None,
    multiple: int = 1,
    numbers: Int[Array, " n"] | None = None,
) -> Block:
    """Blocks of equal size, stacked along a new first axis, the last padded with invalid rows.

    Args:
        side: the examples.
        groups: the group of each.
        tile: the most examples in a block.
        axis: the mesh axis over which blocks will be exchanged: a ring needs an even number of
            them.
        multiple: a block's size is a multiple of this.
        numbers: the examples' numbers, if needed beside the groups.
    """
    size = side.valid.shape[0]
    count = -(-size // (-(-tile // multiple) * multiple))
    if axis is not None and axis.strategy == "ring":
        count += count % 2
    # Spread over equal blocks: 1030 examples in tiles of at most 1024 are 2 x 515, not 1024 + 6.
    tile = -(-size // (count * multiple)) * multiple

    def stacked(x: Array, fill: int = 0) -> Array:
        if count * tile > size:
            padding = [(0, count * tile - size)] + [(0, 0)] * (x.ndim - 1)
            x = jnp.pad(x, padding, constant_values=fill)
        return x.reshape(count, tile, *x.shape[1:])

    blocks = jax.tree.map(stacked, Block(side.factors, side.valid, groups))
    return blocks._replace(number=None if numbers is None else stacked(numbers, NOBODY))


def unsplit(stacked: PyTree[Array], size: int) -> PyTree[Array]:
    """Undo `split`: join the blocks and cut off the padding."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:size], stacked)


def competing(rows: Block, cols: Block) -> Bool[Array, "r c"]:
    """Which pairs of two blocks are negatives of each other."""
    return (rows.group[:, None] != cols.group[None, :]) & _valid(rows, cols)


def others(rows: Block, cols: Block) -> Bool[Array, "r c"]:
    """Which pairs are of two different examples."""
    return _apart(rows, cols) & _valid(rows, cols)


def mates(rows: Block, cols: Block) -> Bool[Array, "r c"]:
    """Which pairs are of two different examples of one group."""
    same = rows.group[:, None] == cols.group[None, :]
    return same & _apart(rows, cols) & _valid(rows, cols)


def _valid(rows: Block, cols: Block) -> Bool[Array, "r c"]:
    return rows.valid[:, None] & cols.valid[None, :]


def _apart(rows: Block, cols: Block) -> Bool[Array, "r c"]:
    return rows.numbers()[:, None] != cols.numbers()[None, :]


def check_groups(groups: Int[np.ndarray | Array, " n"], size: int) -> Int[Array, " n"]:
    """The groups; raises `ValueError` unless they are integers `[size]` that fit JAX's dtype."""
    dtype, shape = getattr(groups, "dtype", None), np.shape(groups)
    anew = "groups = np.unique(groups, return_inverse=True)[1]"
    if dtype is None or shape != (size,) or not jnp.issubdtype(dtype, jnp.integer):
        found = type(groups).__name__ if dtype is None else dtype
        cure = f": number them with {anew}" if shape == (size,) else ""
        raise ValueError(
            f"groups must be an array of integers {(size,)}, got {found} of shape {shape}{cure}"
        )
    kept = jnp.iinfo(jax.dtypes.canonicalize_dtype(dtype))
    if isinstance(groups, np.ndarray) and ((groups < kept.min) | (groups > kept.max)).any():
        raise ValueError(
            f"groups hold numbers of more than {kept.bits} bits, which JAX would cut off: renumber "
            f"them with {anew}"
        )
    return jnp.asarray(groups)


def own_numbers(size: int, axis_name: AxisName | None = None) -> Int[Array, " n"]:
    """A unique number for each example, across devices."""
    numbers = jnp.arange(size, dtype=jnp.int32)
    return numbers if axis_name is None else numbers + jax.lax.axis_index(axis_name) * size


def counted_from_0(groups: Int[Array, " n"], axis_name: AxisName | None = None) -> Int[Array, " n"]:
    """The same groups, renumbered without negative numbers, alike on all devices."""
    return places_in(jnp.sort(gathered(groups, axis_name)), groups)


def places_in(ascending: Int[Array, " m"], numbers: Int[Array, " n"]) -> Int[Array, " n"]:
    """The place of each number, or of the first larger one.

    By sorting, as fast here: the other methods of `jnp.searchsorted` cannot be traced inside a
    `jax.shard_map` over some of a mesh's axes.
    """
    return jnp.searchsorted(ascending, numbers, method="sort").astype(jnp.int32)


def check_matched(matched: Float[Array, " n"], size: int) -> Float[Array, " n"]:
    """The scores of `size` matched pairs, in at least float32; `ValueError` for anything else."""
    if jnp.shape(matched) != (size,):
        raise ValueError(
            f"matched must hold one score for each pair, of shape {(size,)}, "
            f"got shape {jnp.shape(matched)}"
        )
    if not jnp.issubdtype(matched.dtype, jnp.floating):
        raise ValueError(f"matched must hold floating-point scores, got {matched.dtype}")
    return at_least_float32(matched)


def check_sides(
    rows: Side, cols: Side, *, square: bool, axis_name: AxisName | None = None
) -> tuple[int, int]:
    """The sizes of both sides.

    Raises:
        TypeError: for anything but a Side.
        ValueError: if a side is empty, ragged, or (for `square`) the sizes differ; for an axis that
            does not exist, or does not split the columns (or, for `square`, the rows).
    """
    for name, side in (("rows", rows), ("cols", cols)):
        if not isinstance(side, Side):
            raise TypeError(
                f"{name} must be a Side, as score.{name}(embeddings) returns, got {type(side)}"
            )
        if side.valid.dtype != jnp.bool_ or side.valid.ndim != 1:
            raise ValueError(
                f"{name}.valid must be bool of shape [batch], "
                f"got {side.valid.dtype} of shape {side.valid.shape}"
            )
    if axis_name is not None:
        check_on_mesh(axis_name)
        for side in (rows, cols) if square else (cols,):
            check_axis(axis_name, side.factors)
    sizes = []
    for name, side in (("rows", rows), ("cols", cols)):
        size = side.valid.shape[0]
        shapes = [x.shape for x in jax.tree.leaves(side.factors)]
        if size == 0:
            raise ValueError(f"{name} must hold at least one example: the batch is empty")
        if not shapes or any(shape[:1] != (size,) for shape in shapes):
            raise ValueError(
                f"{name} must have factors with one entry for each of {size} examples, "
                f"got shapes {shapes}"
            )
        sizes.append(size)
    if square and sizes[0] != sizes[1]:
        raise ValueError(
            "rows and cols must be equal in number, since row i is matched with column i, got "
            f"{sizes[0]} and {sizes[1]}"
        )
    return sizes[0], sizes[1]

"""How arrays along the rows or columns of a tile are laid out in a TPU's memory.

A TPU's memory consists of tiles of 8 x 128 numbers, so no array has only one axis: one number per
row becomes a column of width 1, one number per column a row of height 1, as in the tile that they
are combined with. Booleans become integers.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, PyTree


@dataclass(frozen=True)
class Layout:
    """One side's arrays `[n, ...]`, cut into blocks of `size` along the first axis.

    Attributes:
        rows: whether this is the row side, the inner loop of the grid (columns, rows).
        size: of a block.
        number: of blocks.
    """

    rows: bool
    size: int
    number: int

    @classmethod
    def of(cls, tree: PyTree[Array], size: int, *, rows: bool) -> "Layout":
        """The layout of arrays whose length is a multiple of the size."""
        return cls(rows, size, jax.tree.leaves(tree)[0].shape[0] // size)

    def laid_out(self, tree: PyTree[Array]) -> PyTree[Array]:
        """The arrays in their memory layout."""
        return jax.tree.map(self._lay, tree)

    def taken_up(self, tree: PyTree[Array], like: PyTree[Array]) -> PyTree[Array]:
        """The arrays as they were before `laid_out`."""
        return jax.tree.map(self._take, tree, like)

    def shapes(self, tree: PyTree[Array], varying_as: Array) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes of the arrays `laid_out`, varying over the mesh as another array does."""
        kind = jax.typeof(varying_as).mat

        def shape(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, manual_axis_type=kind)

        return jax.tree.map(shape, jax.eval_shape(self.laid_out, tree))

    def blocks(self, tree: PyTree[Array]) -> PyTree[pl.BlockSpec]:
        """One block at a time."""
        return jax.tree.map(self._block, tree)

    def whole(self, tree: PyTree[Array]) -> PyTree[pl.BlockSpec]:
        """All of it, all the time."""

        def spec(x: jax.ShapeDtypeStruct) -> pl.BlockSpec:
            return pl.BlockSpec(x.shape, lambda *_: (0,) * x.ndim)

        return jax.tree.map(spec, jax.eval_shape(self.laid_out, tree))

    def read(self, refs: PyTree[Any], like: PyTree[Array], at: Any = ...) -> PyTree[Array]:
        """The values in a block, or in a part of the whole, in the form of `like`."""
        return jax.tree.map(lambda x, ref: self._take(ref[at], x), like, refs)

    def write(self, refs: PyTree[Any], values: PyTree[Array], at: Any = ...) -> None:
        """Put values where they would be read."""

        def put(x: Array, ref: Any) -> None:
            ref[at] = self._lay(x)

        jax.tree.map(put, values, refs)

    def bytes_each(self, tree: PyTree[Array]) -> int:
        """Bytes of memory per example, including the padding of its tiles of 8 x 128."""

        def each(x: Array) -> int:
            if x.ndim == 1:
                return 4 * (128 if self.rows else 8)
            return -(-prod(x.shape[1:]) // 128) * 128 * x.dtype.itemsize

        return sum(map(each, jax.tree.leaves(tree)))

    def _block(self, x: Array) -> pl.BlockSpec:
        if x.ndim == 1 and not self.rows:
            return pl.BlockSpec((1, self.size), lambda j, i: (0, j))
        rest = (0,) * max(x.ndim - 1, 1)
        shape = (self.size, *(x.shape[1:] or (1,)))
        return pl.BlockSpec(shape, lambda j, i: (i if self.rows else j, *rest))

    def _lay(self, x: Array) -> Array:
        if x.dtype == jnp.bool_:
            x = x.astype(jnp.int32)
        if x.ndim == 1:
            return x[:, None] if self.rows else x[None, :]
        return x

    def _take(self, x: Array, like: Array) -> Array:
        if like.ndim == 1:
            x = x[:, 0] if self.rows else x[0]
        return x != 0 if like.dtype == jnp.bool_ else x

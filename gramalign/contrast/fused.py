"""A block of rows against blocks of columns in one Pallas kernel: tiles never leave the TPU's core.

XLA writes a tile to memory and reads it again between products. Here it stays in VMEM from its
scores to its statistics, or to the products with its derivative. The kernel serves any Score made
of matrix products and elementwise operations: it calls `score.tile`, and in the backward pass its
`jax.vjp`, on the loaded blocks.

Columns are the grid's outer loop and rows the inner one: a column's statistics are complete before
they are written, and the rows' stay in VMEM throughout, which is why a kernel takes only one block
of rows. Every pair is computed once forward and once backward.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, PyTree

from gramalign.contrast import scanned
from gramalign.contrast.blocks import Block
from gramalign.contrast.fused_layout import Layout
from gramalign.contrast.tile import Tile, no_slopes
from gramalign.mesh import platform, varying_as

# Sides of a tile: the largest that divides the blocks and fits in memory is used.
SIZES = (256, 128)
# Memory inside a core, less some for the compiler: 64 MiB or more, except on the oldest.
MIB = 2**20
VMEM_BYTES = {"TPU v2": 14 * MIB, "TPU v3": 14 * MIB, "TPU v4": 14 * MIB}
ELSEWHERE = 60 * MIB


def _derivatives_of(plain: Callable) -> Callable[[Callable], Callable]:
    """Give a function the derivatives of an equivalent one: a kernel has no derivatives of its own.

    First derivatives are computed by kernels too, so only higher ones need these.
    """

    def decorate(fused: Callable) -> Callable:
        def forward(tile: Tile, *arguments: PyTree) -> tuple[PyTree, PyTree]:
            return fused(tile, *arguments), arguments

        def backward(tile: Tile, arguments: PyTree, slopes: PyTree) -> PyTree:
            return jax.vjp(partial(plain, tile), *arguments)[1](slopes)

        function = jax.custom_vjp(fused, nondiff_argnums=(0,))
        function.defvjp(forward, backward)
        return function

    return decorate


@_derivatives_of(scanned.meet_all)
def meet_all(
    tile: Tile,
    scale: Float[Array, ""],
    row: Block,
    row_stats: Any,
    cols: Block,
    col_stats: Any | None,
) -> tuple[Any, Any | None]:
    """As `gramalign.contrast.scanned.meet_all`.

    Raises:
        ValueError: on a GPU, for a Score with factors other than vectors or numbers, or with more
            of these than a TPU's core can hold (it can hold 8 float32 vectors of 1024).
    """
    _check(tile, row, cols)

    def one_tile(scale: Array, row: Block, col: Block) -> tuple[Any, Any | None]:
        return tile.meet(scale, row, col, one_way=col_stats is None)

    def together(met: Any | None, more: Any | None) -> Any | None:
        return None if met is None else tile.statistic.join(met, more)

    return _collect(one_tile, together, scale, row, row_stats, cols, col_stats)


@_derivatives_of(scanned.derive_all)
def derive_all(
    tile: Tile,
    scale: Float[Array, ""],
    row: Block,
    by_row: Any,
    cols: Block,
    by_col: Any | None,
    d_cols: PyTree[Array] | None,
) -> tuple[PyTree[Array], PyTree[Array] | None, Float[Array, ""]]:
    """As `gramalign.contrast.scanned.derive_all`."""

    def one_tile(scale: Array, row: tuple, col: tuple) -> tuple[PyTree, tuple]:
        d_row, d_col, d_scale = tile.slopes(scale, *row, *col)
        return d_row, (None if d_cols is None else d_col, d_scale)

    def together(sums: PyTree, more: PyTree) -> PyTree:
        return jax.tree.map(jnp.add, sums, more)

    no_scale = varying_as(jnp.zeros(cols.valid.shape, scale.dtype), scale)
    d_row, (d_cols, d_scale) = _collect(
        one_tile,
        together,
        scale,
        (row, by_row),
        no_slopes(row.factors),
        (cols, by_col),
        (d_cols, no_scale),
    )
    return d_row, d_cols, jnp.sum(d_scale)


def _collect(
    tile: Callable[[Array, PyTree, PyTree], tuple[PyTree, PyTree]],
    together: Callable[[PyTree, PyTree], PyTree],
    scale: Float[Array, ""],
    row: PyTree[Array],
    by_row: PyTree[Array],
    cols: PyTree[Array],
    by_col: PyTree[Array],
) -> tuple[PyTree[Array], PyTree[Array]]:
    """Compute the tiles of a block of rows; rows and columns accumulate what `tile` returns.

    Args:
        tile: from the scale, some rows and some columns to what each side gets.
        together: joins what a side had and what it gets now.
        scale: passed to `tile`.
        row: arrays `[rows, ...]`.
        by_row: what they have collected before.
        cols: arrays `[blocks, tile, ...]`.
        by_col: what they have collected before, stacked like them.
    """
    stacked = jax.tree.map(jnp.shape, by_col)
    cols, by_col = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (cols, by_col))
    of_rows, of_cols = _layouts(row, by_row, cols, by_col)

    def kernel(scale_ref, row_refs, col_refs, row_start, col_start, row_sums, col_sums):
        first_col, first_row = pl.program_id(0) == 0, pl.program_id(1) == 0
        here = pl.ds(pl.program_id(1) * of_rows.size, of_rows.size)
        more_row, more_col = tile(
            scale_ref[0, 0], of_rows.read(row_refs, row), of_cols.read(col_refs, cols)
        )
        had_row = _either(
            first_col,
            of_rows.read(row_start, by_row, here),
            of_rows.read(row_sums, by_row, here),
        )
        of_rows.write(row_sums, together(had_row, more_row), here)
        had_col = _either(
            first_row, of_cols.read(col_start, by_col), of_cols.read(col_sums, by_col)
        )
        of_cols.write(col_sums, together(had_col, more_col))

    inputs = scale[None, None], of_rows.laid_out(row), of_cols.laid_out(cols)
    starts = of_rows.laid_out(by_row), of_cols.laid_out(by_col)
    resident, passing = of_rows.whole(by_row), of_cols.blocks(by_col)
    scalar = pl.BlockSpec(memory_space=pltpu.SMEM)
    before, sums = len(jax.tree.leaves(inputs)), len(jax.tree.leaves(starts))
    row_sums, col_sums = pl.pallas_call(
        kernel,
        grid=(of_cols.number, of_rows.number),
        in_specs=[scalar, of_rows.blocks(row), of_cols.blocks(cols), resident, passing],
        out_specs=[resident, passing],
        out_shape=[of_rows.shapes(by_row, scale), of_cols.shapes(by_col, scale)],
        # What is collected is updated in place.
        input_output_aliases={before + n: n for n in range(sums)},
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=_vmem_bytes()),
        interpret=_interpreted(scale),
    )(*inputs, *starts)
    row_sums, col_sums = of_rows.taken_up(row_sums, by_row), of_cols.taken_up(col_sums, by_col)
    return row_sums, jax.tree.map(lambda x, shape: x.reshape(shape), col_sums, stacked)


def _layouts(
    row: PyTree[Array], by_row: PyTree[Array], cols: PyTree[Array], by_col: PyTree[Array]
) -> tuple[Layout, Layout]:
    """The largest tiles that fit in memory; raises `ValueError` if none fit."""
    number = jax.tree.leaves(row)[0].shape[0]
    needed = 0
    for size in SIZES:
        of_rows, of_cols = Layout.of(row, size, rows=True), Layout.of(cols, size, rows=False)
        # Everything is double-buffered, so that the next block is there in time. What is collected
        # has an input and an output buffer. Add the factors once more, in the parts that float32 is
        # multiplied in, and a dozen tiles.
        factors = size * (of_rows.bytes_each(row) + of_cols.bytes_each(cols))
        sums = number * of_rows.bytes_each(by_row) + size * of_cols.bytes_each(by_col)
        needed = 4 * factors + 4 * sums + 12 * 4 * size * size
        if number % size == 0 and of_cols.number * size == jax.tree.leaves(cols)[0].shape[0]:
            if needed <= _vmem_bytes() or platform() == "cpu":
                return of_rows, of_cols
    raise ValueError(
        f"a tile's factors and their derivatives take {needed / MIB:.0f} MiB inside a TPU's core, "
        f"which has {_vmem_bytes() / MIB:.0f}: lower Engine.tile, give embeddings in bfloat16, or "
        'leave implementation at "xla"'
    )


def _vmem_bytes() -> int:
    device = jax.sharding.get_abstract_mesh().abstract_device
    kind = jax.devices()[0].device_kind if device is None else device.device_kind
    return VMEM_BYTES.get(kind, ELSEWHERE)


def _either(which: Array, x: PyTree[Array], y: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x, y: jnp.where(which, x, y), x, y)


def _interpreted(scale: Float[Array, ""]) -> bool | pltpu.InterpretParams:
    """Whether to interpret the kernel, and by which of the two interpreters."""
    if platform() == "tpu":
        return False
    # The simple one does not support arrays that vary over a mesh, the other not float64.
    return pltpu.InterpretParams() if jax.typeof(scale).mat.varying else True


def _check(tile: Tile, row: Block, cols: Block) -> None:
    """Reject what would not compile, or would make compilation run out of memory."""
    if platform() not in ("tpu", "cpu"):
        raise ValueError(
            f'implementation="pallas" is for TPUs, but this is a {platform()}: leave it at "xla"'
        )
    shapes = [x.shape[1:] for x in jax.tree.leaves(row.factors)]
    shapes += [x.shape[2:] for x in jax.tree.leaves(cols.factors)]
    if any(len(shape) > 1 for shape in shapes):
        raise ValueError(
            'implementation="pallas" is for Scores whose factors are vectors and numbers, but '
            f'{tile.score} has arrays of shapes {shapes}: leave it at "xla"'
        )

"""A lower bound on a loss's time: only the matrix products that it cannot avoid."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice, permutations

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from gramalign.benchmarks.rounds import Timed, in_turn
from gramalign.benchmarks.steps import mesh_of, step
from gramalign.benchmarks.workload import Method, Way
from gramalign.contrast.blocks import split
from gramalign.mesh import varying_as, zeros_as
from gramalign.programs.flops import matmul_flops
from gramalign.scores import Side

Rows = Sequence[Float[Array, "rows d"]]
Cols = Sequence[Float[Array, "cols d"]]
Results = tuple[Float[Array, " rows"], Float[Array, "rows d"], Float[Array, "cols d"] | None]

MIRRORED = ("pmrl", "calmrl", "separation", "uniformity")
"""Methods that hold a side against itself: its columns are its rows."""
_FEW = 16
_CALLS = 8


def operands(
    method: Method, embeddings: Mapping[str, Float[Array, "batch d"]], devices: int
) -> tuple[Rows, Cols]:
    """Rows, and the columns that each meets, as many as the traced loss has.

    They are the modalities' own embeddings, for GRAM and CLIP the anchor's and each other one's; a
    Score's factors have the same shape. Nothing if a loss takes no products of all pairs, or others
    as well. On several devices the rows are split and each device has all columns: nothing is sent.
    """
    dim = next(iter(embeddings.values())).shape[1]

    def flops(batch: int) -> int:
        shapes = {n: jax.ShapeDtypeStruct((batch, dim), x.dtype) for n, x in embeddings.items()}
        return matmul_flops(step(method, Way(batch)), shapes)

    once = (3 if method in MIRRORED else 4) * 2 * _FEW * _FEW * dim
    # A second difference: products within an example grow with the batch, others not even so.
    of_pairs = (flops(3 * _FEW) - 2 * flops(2 * _FEW) + flops(_FEW)) // 2
    number, more = divmod(of_pairs, once)
    every = embeddings.values()
    # No pair twice, which a compiler would multiply once.
    pairs = zip(every, every, strict=True) if method in MIRRORED else permutations(every, 2)
    taken = list(islice(pairs, number))
    if more or len(taken) < number:
        return [], []
    rows, cols = [row for row, _ in taken], [col for _, col in taken]
    if devices > 1:
        cols = jax.device_put(cols, jax.NamedSharding(mesh_of(devices), jax.P()))
    return rows, cols


def bare_products(method: Method, way: Way) -> Callable[[Rows, Cols], list[Results]]:
    """The jitted function of `operands` that computes a method's products, tile by tile.

    Four of B x B x d for rows and columns: the scores, the scores again for the backward pass, and
    one for the gradient of either side. If columns are the rows, one gradient and one set of
    columns. Scores stand in for their own gradients: only the time is meaningful, not the result.
    """

    def run(rows: Rows, cols: Cols) -> list[Results]:
        mirrored = method in MIRRORED
        pairs = zip(rows, cols, strict=True)
        return [_products(*pair, way.tile, mirrored=mirrored) for pair in pairs]

    if way.devices == 1:
        return jax.jit(run)
    mesh, along = mesh_of(way.devices), jax.P("data")
    return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(along, jax.P()), out_specs=along))


def square_rate(dtype: str, size: int, repeats: int) -> float:
    """FLOP/s of large square products, one after the other: what the device can reach.

    Raises:
        RuntimeError: the device fails, or has too little memory.
    """
    # Equal numbers would take less power, and so less time on a device limited by power.
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(dot)

    def several() -> None:
        # The next product is dispatched before the last is done, but there are no more: a device
        # reports only its highest peak, and theirs would hide those of smaller batches.
        last = product(x, x)
        for _ in range(_CALLS - 1):
            following = product(x, x)
            jax.block_until_ready(last)
            last = following
        jax.block_until_ready(last)

    several()
    side = Timed(several)
    in_turn([side], repeats, lambda text: None)
    if side.failed:
        raise RuntimeError(side.failed)
    return _CALLS * 2 * size**3 / side.median()


def _products(
    rows: Float[Array, "rows d"], cols: Float[Array, "cols d"], tile: int, *, mirrored: bool
) -> Results:
    row_blocks, col_blocks = blocks(rows, tile), varying_as(blocks(cols, tile), rows)

    def sums(row: Array) -> Array:
        def add(total: Array, col: Array) -> tuple[Array, None]:
            return total + jnp.sum(dot(row, col.T), axis=1), None

        start = varying_as(jnp.zeros(len(row), jnp.float32), row)
        return jax.lax.scan(add, start, col_blocks)[0]

    def gradients(d_cols: Array | None, row: Array) -> tuple[Array | None, Array]:
        def add(
            carry: tuple[Array, Array | None], col: tuple[Array, Array]
        ) -> tuple[tuple[Array, Array | None], None]:
            d_row, d_cols = carry
            j, col_block = col
            scores = dot(row, col_block.T).astype(row.dtype)
            d_row += dot(scores, col_block)
            if d_cols is not None:
                d_cols = d_cols.at[j].add(dot(scores.T, row))
            return (d_row, d_cols), None

        start = zeros_as(row.astype(jnp.float32)), d_cols
        (d_row, d_cols), _ = jax.lax.scan(add, start, (jnp.arange(len(col_blocks)), col_blocks))
        return d_cols, d_row

    start = None if mirrored else zeros_as(col_blocks.astype(jnp.float32))
    d_cols, d_rows = jax.lax.scan(gradients, start, row_blocks)
    totals = jax.lax.map(sums, row_blocks)
    d_rows = d_rows.reshape(-1, rows.shape[1])[: len(rows)]
    d_cols = None if d_cols is None else d_cols.reshape(-1, cols.shape[1])[: len(cols)]
    return totals.reshape(-1)[: len(rows)], d_rows, d_cols


def blocks(x: Float[Array, "n d"], tile: int) -> Float[Array, "blocks tile d"]:
    """Cut as the engine cuts its sides."""
    numbers = jnp.arange(len(x), dtype=jnp.int32)
    return split(Side(x, numbers >= 0), numbers, tile).factors


def dot(x: Float[Array, "a b"], y: Float[Array, "b c"]) -> Float[Array, "a c"]:
    """One product, at the engine's precision."""
    precision = Precision.HIGHEST if x.dtype == jnp.float32 else Precision.DEFAULT
    return jnp.matmul(x, y, precision=precision, preferred_element_type=jnp.float32)

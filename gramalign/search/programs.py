"""The two compiled programs of a search: one runs once per gallery, the other once per query.

A gallery is split over the devices in equal parts that stay where they are: every device takes all
queries and finds its own best rows, and these few are merged. So communication grows with the
number of hits, and not with the gallery.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from gramalign.contrast import Engine, top_k
from gramalign.contrast.engine import TILES
from gramalign.scores import Score, Side
from gramalign.types import Embeddings, Present

Devices = Sequence[Any]
"""Of `jax.Device`, which type checkers do not take for a type."""

_AXIS = "gallery"
_SPLIT, _EVERYWHERE = PartitionSpec(_AXIS), PartitionSpec()


def mesh_over(devices: Devices) -> Mesh:
    """The devices in a row; raises `ValueError` for none."""
    if not len(devices):
        raise ValueError("devices: got none, expected at least one, or None for all")
    return Mesh(np.asarray(devices), (_AXIS,), axis_types=(AxisType.Auto,))


def tile_on(mesh: Mesh) -> int:
    """The most queries, and rows of the gallery, in a tile."""
    return TILES.get(mesh.devices.flat[0].platform, TILES["cpu"])


def padded(size: int, mesh: Mesh, tile: int) -> int:
    """The size of a gallery padded so that every device has the same number of whole tiles.

    Up to a sixteenth of it is room to grow, so that few sizes of galleries need programs.
    """
    part = -(-size // mesh.size)
    unit = tile if part > tile else 8
    units = -(-part // unit)
    step = max(1 << units.bit_length() >> 5, 1)
    return -(-units // step) * step * unit * mesh.size


def filled(x: Shaped[np.ndarray, "n ..."], rows: int) -> Shaped[np.ndarray, "rows ..."]:
    """An array padded with zeros to a number of rows."""
    if len(x) == rows:
        return x
    return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])


def upload(tree: Mapping[str, np.ndarray], rows: int, mesh: Mesh) -> dict[str, Array]:
    """Arrays `[n, ...]`, padded to a number of rows and split over the devices."""
    whole = {name: filled(x, rows) for name, x in tree.items()}
    return jax.device_put(whole, NamedSharding(mesh, _SPLIT))


@partial(jax.jit, static_argnames=("score", "mesh", "tile"))
def columns(
    score: Score, embeddings: Embeddings, present: Present, *, mesh: Mesh, tile: int
) -> Side:
    """A Score's factors of the gallery, in tiles, so that extra memory is that of one tile."""

    def of_part(batch: tuple[Embeddings, Present]) -> Side:
        size = jax.tree.leaves(batch)[0].shape[0]
        cut = size // tile if size > tile else 1

        def blocks(x: Array) -> Array:
            return x.reshape(cut, size // cut, *x.shape[1:])

        side = jax.lax.map(lambda block: score.cols(*block), jax.tree.map(blocks, batch))
        return jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), side)

    split = jax.shard_map(of_part, mesh=mesh, in_specs=_SPLIT, out_specs=_SPLIT)
    return split((dict(embeddings), dict(present)))


@partial(jax.jit, static_argnames=("score", "k", "mesh", "tile"))
def best(
    score: Score,
    query: Embeddings,
    present: Present,
    cols: Side,
    *,
    k: int,
    mesh: Mesh,
    tile: int,
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """The best of the gallery for every query: scores and row numbers, -inf and -1 if none.

    Args:
        score: what ranks the rows.
        query: at most a tile of queries.
        present: which of their modalities are present.
        cols: the gallery's factors, from `columns`.
        k: how many; all, where the padded gallery has fewer.
        mesh: the devices.
        tile: rows of the gallery per tile.
    """
    part = cols.valid.shape[0] // mesh.size

    def of_part(rows: Side, cols: Side) -> tuple[Array, Array]:
        scores, numbers = top_k(score, rows, cols, min(k, part), engine=Engine(tile=tile))
        first = jax.lax.axis_index(_AXIS) * part
        return scores, jnp.where(numbers < 0, numbers, numbers + first)

    beside = PartitionSpec(None, _AXIS)
    parts = jax.shard_map(
        of_part, mesh=mesh, in_specs=(_EVERYWHERE, _SPLIT), out_specs=(beside, beside)
    )
    scores, numbers = parts(score.rows(query, present), cols)
    # Stable: of equal scores those of the first device, whose rows come first, stay first.
    least, numbers = jax.lax.sort((-scores, numbers))
    return -least[:, :k], numbers[:, :k]

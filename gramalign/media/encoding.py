"""Cells become features: pieces in batches of one size, over all devices, and their means."""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from gramalign.decoding.pieces import Kind, Pieces
from gramalign.mesh import on_own_mesh
from gramalign.models.pretrained import load

Encode = Callable[[Pieces], Float[Array, "pieces dim"]]

_AXIS = "pieces"


@dataclasses.dataclass(frozen=True)
class Encoding:
    """A pretrained encoder, compiled for batches that are split over all local devices.

    Attributes:
        encode: maps a batch.
        dim: width of an embedding.
        devices: number of devices, which a batch's size is a multiple of.
    """

    encode: Encode
    dim: int
    devices: int


@on_own_mesh
def encoding_of(folder: Path, kind: Kind, dtype: str) -> Encoding:
    """Loads an encoder; what `gramalign.models.pretrained.load` raises, this does too."""
    encoder = load(folder, kind, dtype=jnp.dtype(dtype))
    devices = jax.local_devices()
    mesh = Mesh(np.asarray(devices), (_AXIS,), axis_types=(AxisType.Auto,))
    everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (_AXIS,)))
    graphdef, state = nnx.split(encoder)
    state = jax.device_put(state, everywhere)
    run = jax.jit(lambda state, pieces: nnx.merge(graphdef, state)(pieces))
    return Encoding(
        encode=on_own_mesh(lambda pieces: run(state, jax.device_put(pieces, split))),
        dim=encoder.dim,
        devices=len(devices),
    )


def means(
    cells: Iterable[tuple[int, Pieces]], count: int, *, encoding: Encoding, batch_size: int
) -> Float[np.ndarray, "count dim"]:
    """The mean embedding of each cell's pieces; zeros for a cell without any.

    Args:
        cells: pieces of cells, and which cell it is, from 0.
        count: number of cells.
        encoding: the encoder.
        batch_size: pieces that are encoded at once, or a few more, so that devices have the same.
    """
    batch_size += -batch_size % encoding.devices
    total, pieces = np.zeros((count, encoding.dim)), np.zeros((count, 1))
    # The host prepares a batch while devices compute the one before.
    waiting = []

    def collect(owners: np.ndarray, found: Array) -> None:
        np.add.at(total, owners, np.asarray(found, np.float64)[: len(owners)])
        np.add.at(pieces, owners, 1.0)

    for owners, batch in _batches(cells, batch_size):
        waiting.append((owners, encoding.encode(batch)))
        if len(waiting) > 1:
            collect(*waiting.pop(0))
    for each in waiting:
        collect(*each)
    return (total / np.maximum(pieces, 1)).astype(np.float32)


def _batches(
    cells: Iterable[tuple[int, Pieces]], size: int
) -> Iterator[tuple[Int[np.ndarray, " pieces"], Pieces]]:
    """Full batches of pieces of one shape, and whose they are; the last of a shape are padded."""
    waiting = defaultdict(list)
    for cell, pieces in cells:
        shape = tuple((name, array.shape[1:]) for name, array in pieces.items())
        for number in range(len(next(iter(pieces.values())))):
            waiting[shape].append((cell, {name: x[number] for name, x in pieces.items()}))
            if len(waiting[shape]) == size:
                yield _batch(waiting.pop(shape), size)
    for rest in waiting.values():
        yield _batch(rest, size)


def _batch(pieces: list[tuple[int, Pieces]], size: int) -> tuple[np.ndarray, Pieces]:
    owners = np.array([cell for cell, _ in pieces])
    # Padded by the last piece, which the encoder is made for: a text without words may be none.
    padded = [*pieces, *itertools.repeat(pieces[-1], size - len(pieces))]
    return owners, {name: np.stack([x[name] for _, x in padded]) for name in pieces[0][1]}

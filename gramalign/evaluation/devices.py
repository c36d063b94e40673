"""Splits examples over all local devices, if there are enough examples."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from gramalign.mesh import on_own_mesh

Batch = tuple[dict[str, Any], dict[str, Any], Any]
"""Embeddings and masks under the names of a task, and groups or None."""

ROWS_PER_DEVICE = 2048
"""Fewer are not worth another device: the queries of a smaller set stay together."""

_AXIS = "examples"


def devices_for(queries: int) -> list[Any]:
    """As many of the local devices as this number of queries is worth."""
    return jax.local_devices()[: max(queries // ROWS_PER_DEVICE, 1)]


@on_own_mesh
def on_devices(program: Callable[..., Any], batch: Batch) -> list[np.ndarray]:
    """Runs a program on a batch split over the local devices; returns its outputs on the host.

    Args:
        program: hashable; takes a batch and the mesh axis that it is split over, or None, and
            returns a tuple of arrays `[examples, ...]`.
        batch: the examples; padding for the devices counts as absent.
    """
    _, present, _ = batch
    size = len(next(iter(present.values())))
    devices = devices_for(size)
    if len(devices) == 1:
        return jax.device_get(list(_on_device(program, batch)))
    mesh = Mesh(devices, (_AXIS,))
    missing = -size % len(devices)

    def filled(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))

    # Padding is absent: its masks are False.
    batch = jax.device_put(
        jax.tree.map(filled, batch), jax.NamedSharding(mesh, PartitionSpec(_AXIS))
    )
    found = _on_mesh(program, mesh, batch)
    return [x[:size] for x in jax.device_get(list(found))]


@partial(jax.jit, static_argnames=("program", "axis_name"))
def _on_device(program: Callable[..., Any], batch: Batch, axis_name: str | None = None) -> Any:
    return program(batch, axis_name)


@partial(jax.jit, static_argnames=("program", "mesh"))
def _on_mesh(program: Callable[..., Any], mesh: Mesh, batch: Batch) -> Any:
    split = PartitionSpec(_AXIS)
    part = partial(_on_device, program, axis_name=_AXIS)
    return jax.shard_map(part, mesh=mesh, in_specs=(split,), out_specs=split)(batch)

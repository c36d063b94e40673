"""Losses of whole batches, computed by all devices of a mesh."""

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from math import prod
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from gramalign.mesh import AxisName
from gramalign.scores.sides import check_embeddings
from gramalign.types import Embeddings, Present

Loss = Callable[..., Float[Array, " batch"]]

OF_THE_BATCH = ("present", "groups", "axis_name", "engine")
"""What all losses are called with, though not every one has a use for all of it."""


def without_unused(loss: Loss, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords without those of the batch that a loss does not take.

    >>> from gramalign.losses import alignment
    >>> without_unused(alignment, {"present": None, "groups": None, "power": 1.0})
    {'present': None, 'power': 1.0}
    """
    takes = inspect.signature(loss).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        return dict(given)
    unused = set(OF_THE_BATCH) - {parameter.name for parameter in takes}
    return {name: x for name, x in given.items() if name not in unused}


def over_mesh(loss: Loss, mesh: Mesh, axis_name: AxisName | None = None) -> Loss:
    """The same loss, of the whole batch's embeddings, with the work split over a mesh.

    What comes out, gradients included, is what one device would give. Inside a `jax.shard_map` of
    your own, give the loss an `axis_name` instead.

    Args:
        loss: `gram`, `pmrl`, `clip`, or any function that is called as they are.
        mesh: the devices, `jax.make_mesh(...)`.
        axis_name: the axis (or axes) to split the batch over; None: all that the mesh has, so that
            every device has work. Along others the work is repeated.

    Returns:
        A function of the loss's arguments without `axis_name`. Arrays may lie anywhere, and are
        split as needed; the values per example `[batch]` are split over the mesh. It is compiled.

    Raises:
        ValueError: for an axis that the mesh does not have; when called, for a batch that is empty
        or does not divide by the number of devices.
        TypeError: when called with an `axis_name`.

    >>> import jax.numpy as jnp
    >>> from gramalign import losses
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    >>> eye = jnp.eye(8)
    >>> loss = losses.over_mesh(losses.clip, mesh)({"text": eye, "audio": eye})
    >>> bool(jnp.allclose(loss, losses.clip({"text": eye, "audio": eye})))
    True
    """
    if axis_name is None:
        names = tuple(mesh.axis_names)
    else:
        names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)
    for name in names:
        if name not in mesh.axis_names:
            raise ValueError(
                f"axis_name {name!r} is no axis of the mesh, which has {list(mesh.axis_names)}"
            )
    devices = prod(mesh.shape[name] for name in names)
    whole, split = (
        jax.NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec(names))
    )

    @partial(jax.jit, static_argnames="constants")
    def run(
        batch: PyTree[Array], arrays: dict[str, Array], constants: tuple[tuple[str, Hashable], ...]
    ) -> Float[Array, " batch"]:
        def part(batch: PyTree[Array], arrays: dict[str, Array]) -> Float[Array, " batch"]:
            embeddings, present, groups = batch
            shared = {"present": present, "groups": groups, "axis_name": names}
            given = without_unused(loss, {**shared, **arrays, **dict(constants)})
            return loss(embeddings, **given)

        specs = split.spec, whole.spec
        mapped = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=split.spec)
        return mapped(batch, arrays)

    def call(
        embeddings: Embeddings,
        *,
        present: Present | None = None,
        groups: Int[Array, " batch"] | None = None,
        **settings: Array | Hashable,
    ) -> Float[Array, " batch"]:
        check_embeddings(embeddings, present)
        if "axis_name" in settings:
            raise TypeError("give axis_name to over_mesh: a loss over a mesh has it already")
        size = next(iter(embeddings.values())).shape[0]
        if size == 0 or size % devices:
            raise ValueError(
                f"a batch of {size} does not divide over the {devices} devices of {names}: fill "
                f"it up to {max(-(-size // devices), 1) * devices}, present False in what is added"
            )
        arrays = {n: x for n, x in settings.items() if isinstance(x, (jax.Array, np.ndarray))}
        constants = tuple((n, x) for n, x in settings.items() if n not in arrays)
        batch = dict(embeddings), present and dict(present), groups
        return run(jax.device_put(batch, split), jax.device_put(arrays, whole), constants)

    return call

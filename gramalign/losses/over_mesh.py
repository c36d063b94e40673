"""Losses of whole batches, computed by all devices of a mesh."""

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from math import prod
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from gramalign.contrast.blocks import check_groups
from gramalign.counted import counted
from gramalign.mesh import AxisName, names_of
from gramalign.scores.named import as_key
from gramalign.scores.sides import check_embeddings
from gramalign.types import Embeddings, Groups, Present

Loss = Callable[..., Float[Array, " batch"]]

OF_THE_BATCH = ("present", "groups", "axis_name", "engine")
"""Passed to every loss that takes them; not every loss takes all."""


def without_unused(loss: Loss, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given keywords, without those in `OF_THE_BATCH` that a loss does not take.

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
    """The same loss of the whole batch, with the work split over a mesh.

    Values and gradients equal those of one device. Inside your own `jax.shard_map`, give the loss
    an `axis_name` instead. Call `over_mesh` once and keep the result: each call compiles its own
    program. On a mesh with explicit axes, as `jax.make_mesh` makes, JAX takes gradients only under
    `jax.jit` or `jax.set_mesh`. `jax.vmap`, and so `jax.jacrev`, cannot map over embeddings,
    because the batch is laid out on the mesh; they can map over numbers such as the temperature.

    Args:
        loss: `gram`, `pmrl`, `clip`, or any function with the same calling convention.
        mesh: the devices, `jax.make_mesh(...)`.
        axis_name: the axis (or axes) to split the batch over; None: all axes of the mesh, so that
            every device has work. Along other axes the work is repeated.

    Returns:
        A function of the loss's arguments without `axis_name`. It is compiled. Arrays on any device
        are accepted and split as needed; the values per example `[batch]` are split over the mesh.

    Raises:
        ValueError: for an axis that the mesh does not have, one named twice, or a mesh with a
            Manual axis; when called, for a batch that is empty or does not divide by the number of
            devices, a loss that returns anything but one value per example, and whatever the loss
            raises.
        TypeError: for a loss that is no function or already jitted, and anything but a mesh or
            names of axes; when called with an `axis_name`.

    >>> import jax.numpy as jnp
    >>> from gramalign import losses
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    >>> eye = jnp.eye(8)
    >>> loss = losses.over_mesh(losses.clip, mesh)({"text": eye, "audio": eye})
    >>> bool(jnp.allclose(loss, losses.clip({"text": eye, "audio": eye})))
    True
    """
    if isinstance(loss, jax.stages.Wrapped):
        raise TypeError(
            "the loss was jitted without its axis: give over_mesh the function before jax.jit"
        )
    if not callable(loss):
        raise TypeError(f"loss must be a function, such as losses.gram, got {loss!r}")
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a Mesh, as jax.make_mesh gives, got {type(mesh).__name__}")
    names = names_of(mesh.axis_names if axis_name is None else axis_name)
    for name in names:
        if name not in mesh.axis_names:
            raise ValueError(
                f"axis_name: got {name!r}, expected an axis of the mesh, {list(mesh.axis_names)}"
            )
    if AxisType.Manual in mesh.axis_types:
        raise ValueError(
            f"the mesh has axes of types {[kind.name for kind in mesh.axis_types]}, expected Auto "
            "or Explicit; axes are Manual inside jax.shard_map, where the loss is called directly, "
            "with axis_name"
        )
    devices = prod(mesh.shape[name] for name in names)
    whole, split = (
        jax.NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec(names))
    )

    inner, fixed = (loss.func, loss.keywords) if isinstance(loss, partial) else (loss, {})
    # Our losses carry their own checks, and the names of the settings that shape the program.
    check = getattr(inner, "check", lambda embeddings, settings: None)
    shaping = getattr(inner, "constants", None)

    def traced(name: str, x: Any) -> bool:
        number = isinstance(x, Real) and not isinstance(x, bool)
        free = shaping is not None and name not in shaping
        leaves = jax.tree.leaves(x)  # of an array, itself; of a module, its parameters
        arrays = all(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in leaves)
        return (number and free) or (bool(leaves) and arrays)

    @partial(jax.jit, static_argnames="constants")
    def run(
        batch: PyTree[Array],
        arrays: dict[str, PyTree[Array]],
        constants: tuple[tuple[str, Hashable], ...],
    ) -> Float[Array, " batch"]:
        def part(batch: PyTree[Array], arrays: dict[str, PyTree[Array]]) -> Float[Array, " batch"]:
            embeddings, present, groups = batch
            shared = {"present": present, "groups": groups, "axis_name": names}
            given = without_unused(loss, {**shared, **arrays, **dict(constants)})
            values = loss(embeddings, **given)
            size = next(iter(embeddings.values())).shape[0]
            if jnp.shape(values) != (size,):
                raise ValueError(
                    f"the loss must return one value for each example, of shape {(size,)} on each "
                    f"device, got shape {jnp.shape(values)}: take the mean of over_mesh's result"
                )
            return values

        specs = split.spec, whole.spec
        mapped = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=split.spec)
        return mapped(batch, arrays)

    def call(
        embeddings: Embeddings,
        *,
        present: Present | None = None,
        groups: Groups | None = None,
        **settings: PyTree[Array] | Hashable,
    ) -> Float[Array, " batch"]:
        if "axis_name" in settings:
            raise TypeError("axis_name is already set in a loss over a mesh: give it to over_mesh")
        # Arguments bound by a partial are those of the whole batch too.
        present = fixed.get("present") if present is None else present
        groups = fixed.get("groups") if groups is None else groups
        check_embeddings(embeddings, present)
        size = next(iter(embeddings.values())).shape[0]
        if size == 0 or size % devices:
            raise ValueError(
                f"a batch of {size} does not divide evenly over {counted(devices, 'device')} of "
                f"{names}: pad it to {max(-(-size // devices), 1) * devices}, with present False "
                "for the padding"
            )
        if groups is not None:
            check_groups(groups, size)
        arrays = {n: jax.tree.map(jnp.asarray, x) for n, x in settings.items() if traced(n, x)}
        constants = tuple(
            (n, as_key(x, n) if n == "score_of" else x)
            for n, x in settings.items()
            if n not in arrays
        )
        batch = jax.device_put((dict(embeddings), present and dict(present), groups), split)
        check(batch[0], without_unused(inner, {**fixed, "present": batch[1], **settings}))
        return run(batch, jax.device_put(arrays, whole), constants)

    return call

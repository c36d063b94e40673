"""Axes, constants and devices, for code that also runs inside `jax.shard_map`."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

AxisName = str | tuple[str, ...]

Function = TypeVar("Function", bound=Callable[..., Any])


def platform() -> str:
    """The kind of device that the traced code will run on: "cpu", "gpu" or "tpu".

    Inside `jax.shard_map`, or where a mesh is set, it is the mesh's, which need not be this
    machine's: a program for TPUs can be compiled where there are none. Elsewhere it is that of
    JAX's default backend.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def names_of(axis_name: AxisName) -> tuple[str, ...]:
    """The axes' names; raises an error for anything else, for none, or for one named twice."""
    if not isinstance(axis_name, str | tuple | list):
        raise TypeError(f"axis_name must be the name of a mesh axis, or several, got {axis_name!r}")
    names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"axis_name must name one mesh axis or several, each once, got {names}")
    return names


def check_axis(axis_name: AxisName, batch: PyTree[Array], called: str = "the batch is") -> None:
    """Raise `ValueError` unless the axis exists in the current mesh and splits the batch.

    Args:
        axis_name: one axis, or several that split the batch together.
        batch: arrays along the batch.
        called: subject and verb of the error message.
    """
    for name in names_of(axis_name):
        try:
            varies = name in jax.typeof(jax.lax.axis_index(name)).mat.varying
        except NameError:
            raise _absent(name) from None
        split = any(name in jax.typeof(x).mat.varying for x in jax.tree.leaves(batch))
        if varies and not split:
            raise ValueError(
                f"{called} the same on all devices of axis {name!r}, so every example would "
                f"compete with its own copies: split the batch with in_specs=jax.P({name!r})"
            )


def check_on_mesh(axis_name: AxisName) -> None:
    """Raise `ValueError` for an axis of `jax.vmap`, which the backward pass of tiles is outside of.

    Args:
        axis_name: one axis, or several.
    """
    for name in names_of(axis_name):
        if name not in jax.sharding.get_abstract_mesh().manual_axes:
            raise _absent(name)


def _absent(name: str) -> ValueError:
    there = sorted(jax.sharding.get_abstract_mesh().manual_axes)
    return ValueError(
        f"axis_name {name!r} is not a mesh axis here; there are {there}. Call the loss inside "
        "jax.shard_map over a mesh that has it, or without axis_name on one device"
    )


def in_mesh_order(axis_name: AxisName) -> AxisName:
    """The same axes in the order of the mesh; the order of devices on a ring does not matter."""
    if isinstance(axis_name, str):
        return axis_name
    return tuple(sorted(axis_name, key=jax.sharding.get_abstract_mesh().axis_names.index))


def gathered(tree: PyTree[Array], axis_name: AxisName | None) -> PyTree[Array]:
    """The arrays of all devices, concatenated by device; without an axis, unchanged."""
    return tree if axis_name is None else jax.lax.all_gather(tree, axis_name, tiled=True)


def varying_as(tree: PyTree[Array], like: Array | jax.ShapeDtypeStruct) -> PyTree[Array]:
    """Mark arrays as varying over the mesh axes that `like` varies over; a no-op elsewhere.

    The carry of a loop must have one type from start to end: if the body mixes in values that vary
    over devices, the start must be marked as varying too.
    """

    def vary(x: Array) -> Array:
        axes = _varying(like) - _varying(x)
        return jax.lax.pcast(x, tuple(axes), to="varying") if axes else x

    return jax.tree.map(vary, tree)


def split_over(x: Any) -> PartitionSpec | None:
    """How an array is split over explicit axes of a mesh; None if it is not."""
    spec = jax.typeof(x).sharding.spec
    return spec if any(spec) else None


def split_as(x: Array, like: Any) -> Array:
    """Split an array over explicit mesh axes as the first axes of `like` are; a no-op elsewhere.

    Operations on two arrays want both split alike, and what is made anew, such as a mask that is
    all True, is not split at all.
    """
    spec = split_over(like)
    if spec is None:
        return x
    where = jax.typeof(like) if isinstance(like, Tracer) else like  # which knows its devices
    return jax.sharding.reshard(
        x, NamedSharding(where.sharding.mesh, PartitionSpec(*spec[: x.ndim]))
    )


def on_own_mesh(function: Function) -> Function:
    """Decorate a function that lays out arrays by itself, to be called under any `jax.set_mesh`.

    A mesh that is set where it is called would have to be its own one.
    """

    @wraps(function)
    def call(*arguments, **settings):
        if jax.sharding.get_abstract_mesh().empty:  # else JAX would keep a second set of programs
            return function(*arguments, **settings)
        with jax.set_mesh(None):
            return function(*arguments, **settings)

    return call  # pyright: ignore[reportReturnType]


def _varying(x: Array | jax.ShapeDtypeStruct) -> frozenset[str]:
    # Of an array's shape, `jax.typeof` fails where only some of a mesh's axes are manual.
    if isinstance(x, jax.ShapeDtypeStruct):
        return frozenset() if x.manual_axis_type is None else x.manual_axis_type.varying
    return jax.typeof(x).mat.varying


def zeros_as(tree: PyTree[Array | jax.ShapeDtypeStruct]) -> PyTree[Array]:
    """Zeros of the same shapes, and varying over the same mesh axes, as the arrays of a tree."""
    return jax.tree.map(lambda x: varying_as(jnp.zeros(x.shape, x.dtype), x), tree)

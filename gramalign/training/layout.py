"""Where the arrays of a run are placed: the mesh of its devices, and how parameters are split.

Three axes. `data`: every device has examples of its own. `fsdp`: likewise, and the devices also
split parameters and optimiser state, and gather each one where it is used. `model`: they share each
matrix product of the towers. The batch is split over `data` and `fsdp`, its pairs over all three.
Every layout computes the same step.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import Array, Int, PyTree

from gramalign.counted import counted
from gramalign.training.config import Config, Layout

AXES = ("data", "fsdp", "model")
BATCH_AXES = ("data", "fsdp")
"""Those that a batch is split over."""


def loss_axes(size: int, mesh: Mesh) -> tuple[str, ...]:
    """The axes that share the pairs of a batch: all, if it divides by them.

    Otherwise those of the batch, and devices along `model` each compute the same pairs.
    """
    return BATCH_AXES if size % mesh.size else AXES


def mesh_of(layout: Layout, devices: Sequence[Any] | None = None) -> Mesh:
    """The devices of a run, by axis.

    Args:
        layout: the size of each axis.
        devices: devices that must all be used; None: those that JAX sees, of all processes.

    Raises:
        ValueError: for a layout of more devices than there are; or of fewer, unless they are those
            that JAX sees in one process.
    """
    there = jax.devices() if devices is None else list(devices)
    others = layout.fsdp * layout.model
    data = max(1, len(there) // others) if layout.data is None else layout.data
    shape = (data, layout.fsdp, layout.model)
    wanted = math.prod(shape)
    some = devices is None and layout.data is not None and jax.process_count() == 1
    if wanted > len(there) or (wanted < len(there) and not some):
        if len(there) % others:
            cure = f"choose --layout.fsdp x --layout.model to divide {len(there)}"
        else:
            cure = "leave out --layout.data"
        if devices is None:
            cure += ", or start on that many"
        raise ValueError(
            f"a layout of {' x '.join(f'{n} {axis}' for n, axis in zip(shape, AXES, strict=True))} "
            f"needs {counted(wanted, 'device')}, but there are {len(there)}: {cure}"
        )
    types = (AxisType.Auto,) * 3
    return Mesh(_arranged(shape, there[:wanted]), AXES, axis_types=types)


def _arranged(shape: Sequence[int], devices: Sequence[Any]) -> np.ndarray:
    """Devices arranged so that those which communicate most are close, if JAX knows how."""
    try:
        return create_device_mesh(shape, devices, allow_split_physical_axes=True)
    except (AssertionError, NotImplementedError):  # chips that do not form a cuboid
        return np.array(devices).reshape(shape)


def parts(mesh: Mesh) -> int:
    """The number of parts that a batch is split into."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def of_batches(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch's arrays."""
    return NamedSharding(mesh, jax.P(BATCH_AXES))


def on_all(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is replicated on every device."""
    return NamedSharding(mesh, jax.P())


def own_places(size: int, mesh: Mesh) -> Int[np.ndarray, " n"]:
    """The places of the examples in a batch that this process reads: those of its devices."""
    held = of_batches(mesh).addressable_devices_indices_map((size,)).values()
    starts = {part[0].indices(size)[:2] for part in held if part is not None}
    return np.concatenate([np.arange(*bounds) for bounds in sorted(starts)])


def put(batch: PyTree, size: int, mesh: Mesh) -> PyTree[Array]:
    """A batch on the devices of several processes, from the examples that each one has read."""
    sharding = of_batches(mesh)

    def whole(local: np.ndarray) -> Array:
        shape = (size, *local.shape[1:])
        return jax.make_array_from_process_local_data(sharding, local, shape)

    return jax.tree.map(whole, batch)


def check_batch(size: int, mesh: Mesh) -> None:
    """Raises a ValueError unless a batch divides evenly over the devices that split it."""
    number = parts(mesh)
    if size % number:
        less, more = size // number * number, -(-size // number) * number
        near = f"{less} or {more}" if less else f"{more}"
        fewer = "fewer devices, with --layout.data (for a plan, --topology)"
        if jax.process_count() > 1:  # all of whose devices must be used
            fewer = "start on fewer processes, of as many devices as divide it"
        raise ValueError(
            f"a batch of {size} does not divide evenly over {number} devices: give a new run a "
            f"multiple, such as --batch-size {near}, or {fewer}"
        )


def shardings(layout: Layout, mesh: Mesh, tree: PyTree) -> PyTree[NamedSharding]:
    """The sharding of each array of a state, by the first rule whose expression matches its name.

    A dimension that is not divisible by its axis is not split, nor is an array without a rule or
    without dimensions.

    Args:
        layout: holds the rules.
        mesh: of `mesh_of`.
        tree: arrays or their abstract shapes, such as a `TrainState`, whose parameters and moments
            go by names such as `params.encoder.towers.text.layers.0.kernel`.

    Raises:
        ValueError: for a rule with more dimensions than an array that it matches.
    """
    return _by_rules(layout, mesh, tree, set(AXES))


def gathered(params: PyTree[Array], config: Config, mesh: Mesh) -> PyTree[Array]:
    """Gathers parameters, trained or not, for use: they are no longer split over `fsdp`.

    Left to itself, the compiler splits the products instead, and reduces arrays as large as a
    batch's activations. Weight matrices of the towers here are sent in the towers' dtype, their
    derivatives in the weights' own dtype; biases are not cast, as towers may add them in float32,
    nor is anything of a user's own towers, as nobody knows what they do in which dtype.
    """
    if mesh.shape["fsdp"] == 1:
        return params
    whole = _by_rules(config.layout, mesh, params, {"data", "model"})
    parts = shardings(config.layout, mesh, params)
    own = config.model.tower != type(config.model).tower

    def narrow(x):
        def leaf(path, y):
            of_tower = _name(path).startswith("encoder.towers.")
            return y.astype(config.model.dtype) if of_tower and y.ndim > 1 and not own else y

        return jax.tree_util.tree_map_with_path(leaf, x)

    # A constraint's transpose is the same constraint: every device would receive the whole sum of
    # the gradient, and keep a part of it.
    @jax.custom_vjp
    def gather(x):
        there = jax.lax.with_sharding_constraint(narrow(x), whole)
        return jax.tree.map(lambda y, x: y.astype(x.dtype), there, x)

    gather.defvjp(
        lambda x: (gather(x), None),
        lambda _, d: (jax.lax.with_sharding_constraint(d, parts),),
    )
    return gather(params)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _by_rules(
    layout: Layout, mesh: Mesh, tree: PyTree, kept: Collection[str]
) -> PyTree[NamedSharding]:
    def sharding(path: Any, leaf: Any) -> NamedSharding:
        name = _name(path)
        axes = next((axes for rule, axes in layout.parsed if re.search(rule, name)), ())
        if len(axes) > leaf.ndim and (leaf.ndim == 0 or not name.startswith("params.")):
            axes = ()  # a statistic, or a moment that is smaller than its parameter
        elif len(axes) > leaf.ndim:
            raise ValueError(
                f"Layout.rules: {axes} has more axes than {name} has dimensions, which are "
                f"{leaf.ndim}: rename it, or put a rule for it before that one"
            )
        split = [
            axis if axis in kept and size % mesh.shape[axis] == 0 else None
            for axis, size in zip(axes, leaf.shape, strict=False)
        ]
        return NamedSharding(mesh, jax.P(*split))

    return jax.tree_util.tree_map_with_path(sharding, tree)

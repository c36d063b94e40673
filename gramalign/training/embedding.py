"""Embeds whole stores, as many rows at once as the devices have room for."""

import functools
import logging
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, PyTree

from gramalign.counted import counted
from gramalign.data import FeatureStore, examples
from gramalign.mesh import on_own_mesh
from gramalign.programs.arrays import TRACED_ROWS, bytes_per_row
from gramalign.training.config import Config, Layout
from gramalign.training.layout import gathered, mesh_of, of_batches, on_all, parts
from gramalign.training.processes import on_host
from gramalign.training.restore import Run, checked_embed, embedded, fused_names, jitted_embed

_log = logging.getLogger(__name__)

_ROWS, _BYTES = 1024, 2**29
"""The most rows embedded at once on each device, and the most bytes of an array on their way."""
_READ = 16
"""By how much a process may read more rows than `FeatureStore.rows_at_once`, for its devices."""


@on_own_mesh
def embed_store(
    run: Run, store: FeatureStore, batch_size: int | None = None, *, fused: str | None = None
) -> dict[str, Float[np.ndarray, "rows dim"]]:
    """Embeds every row of a store.

    Args:
        run: the run.
        store: data with any of the run's modalities; others are left out.
        batch_size: rows embedded at once, on one device; None: 1024 on each device, or so many
            fewer that their features take at most 64 MiB, and no array that is made of them more
            than 512 MiB. The devices are those of the training, while it lasts; then those of this
            process, or as many as `Layout.data` says, unless one has room for all rows.
        fused: a term of the objective ("vast", "confu") whose heads' fused embeddings to add.

    Returns:
        Unit rows of each modality in the store's order, zero where absent; then fused ones, by
        names such as "audio+video", zero where an example lacks a modality they need.

    Raises:
        TypeError: anything but a store.
        ValueError: no modality in common, a modality of another width, a term that fuses nothing,
            or a batch size below 1.
    """
    if not isinstance(store, FeatureStore):
        raise TypeError(
            f"store: got {type(store).__name__}, expected a FeatureStore: open one by "
            "gramalign.data.load(PATH), or make one of arrays by gramalign.data.from_arrays"
        )
    known = [modality for modality in store.modalities if modality in run.dims]
    if not known:
        raise ValueError(
            f"{store.source} has {', '.join(store.modalities)}, expected any of the run's "
            f"modalities, {', '.join(run.dims)}"
        )
    for modality in known:
        if store.dims[modality] != run.dims[modality]:
            raise ValueError(
                f"{modality} has {counted(store.dims[modality], 'feature')} a row, but the run was "
                f"trained on {run.dims[modality]}"
            )
    names = [*known, *fused_names(run.fusing, fused)]
    embeddings = {name: np.zeros((len(store), run.config.model.dim), np.float32) for name in names}
    rows, mesh = store.only(known), None
    if batch_size is None:
        limit = min(rows.rows_at_once, _ROWS, _room(run, known, fused))
        mesh = _mesh(run, few=len(rows) <= limit)
        number = 1 if mesh is None else parts(mesh)
        limit = max(1, min(limit, _READ * rows.rows_at_once // number))
        # Powers of two, so that stores of about the same size share a program.
        whole = 1 << (-(-len(rows) // number) - 1).bit_length()
        batch_size = number * min(1 << limit.bit_length() - 1, whole)
    embed = run.embed
    if mesh is not None:
        embed = functools.partial(checked_embed, run.dims, run.fusing, _spread(run, mesh))
    start = 0
    for batch, count in examples(rows, batch_size):
        found = embed(batch["features"], batch["present"], fused=fused)
        for name in names:
            embeddings[name][start : start + count] = on_host(found[name])[:count]
        start += count
    return embeddings


def _room(run: Run, names: list[str], fused: str | None) -> int:
    """How many rows a device has room for, by the largest array on the way to embeddings."""
    rows = {name: jax.ShapeDtypeStruct((TRACED_ROWS, run.dims[name]), np.float32) for name in names}
    masks = dict.fromkeys(names, jax.ShapeDtypeStruct((TRACED_ROWS,), bool))
    try:
        traced = jitted_embed.trace(run.graphdef, run.variables, rows, masks, fused)
    except Exception as error:  # whatever it is, unless of this number of rows, comes up again
        _log.info("towers do not take %d rows, so their room is unknown: %s", TRACED_ROWS, error)
        return _ROWS
    return max(1, _BYTES // max(1, bytes_per_row(traced.jaxpr.jaxpr)))


def _mesh(run: Run, *, few: bool) -> Mesh | None:
    """The devices that hold the run or, of a loaded one, all for many rows; None: a single one."""
    mesh, layout = _held_on(run), run.config.layout
    if mesh is not None:
        return mesh if mesh.size > 1 else None
    devices = jax.local_devices()
    if layout.data is not None:
        devices = devices[: layout.data * layout.fsdp]
    return None if few or len(devices) == 1 else mesh_of(Layout(), devices)


def _held_on(run: Run) -> Mesh | None:
    """The devices of a run that is being trained; None: of a loaded one."""
    some = next(iter(jax.tree.leaves(run.variables)), None)  # towers may have no weights
    sharding = getattr(some, "sharding", None)
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


def _spread(run: Run, mesh: Mesh) -> Callable[..., dict[str, Array]]:
    """As `embedded`, of batches that are split over the devices."""
    variables = run.variables
    if _held_on(run) != mesh:
        variables = jax.device_put(variables, on_all(mesh))
    # No more of it than `gathered` looks at, so that others share the program.
    config, of_all = Config(model=run.config.model, layout=run.config.layout), of_batches(mesh)

    def part(x):
        return jax.make_array_from_callback(x.shape, of_all, lambda where: x[where])

    def program(features, present, fused):
        batch = jax.tree.map(part, (features, present))
        return _on_mesh(run.graphdef, config, mesh, variables, *batch, fused)

    return program


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 6))
def _on_mesh(
    graphdef: nnx.GraphDef,
    config: Config,
    mesh: Mesh,
    variables: PyTree,
    features: dict[str, Array],
    present: dict[str, Array],
    fused: str | None,
) -> dict[str, Array]:
    return embedded(graphdef, gathered(variables, config, mesh), features, present, fused)

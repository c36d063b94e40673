"""Embeds whole stores, as many rows at once as the devices have room for."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, PyTree

from gramalign.counted import counted
from gramalign.data import FeatureStore, examples
from gramalign.training.config import Config, Layout
from gramalign.training.layout import gathered, mesh_of, of_batches, on_all, parts
from gramalign.training.processes import on_host
from gramalign.training.restore import Run, checked_embed, embedded, fused_names

_ROWS = 1024
"""Embedded at once on each device, at most."""


def embed_store(
    run: Run, store: FeatureStore, batch_size: int | None = None, *, fused: str | None = None
) -> dict[str, Float[np.ndarray, "rows dim"]]:
    """Embeds every row of a store.

    Args:
        run: the run.
        store: data with any of the run's modalities; others are left out.
        batch_size: rows embedded at once, on one device; None: those whose features take 64 MiB,
            and at most 1024, on each device of this process, if there are so many rows.
        fused: a term of the objective ("vast", "confu") whose heads' fused embeddings to add.

    Returns:
        Unit rows of each modality in the store's order, zero where absent; then fused ones, by
        names such as "audio+video", zero where an example lacks a modality they need.

    Raises:
        TypeError: anything but a store.
        ValueError: no modality in common, a modality of another width, or a term that fuses
            nothing.
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
    rows, embed = store.only(known), run.embed
    if batch_size is None:
        limit = min(rows.rows_at_once, _ROWS)
        mesh = _mesh(run, -(-len(rows) // limit))
        number = 1 if mesh is None else parts(mesh)
        # A power of two, so that stores of about the same size share a program.
        batch_size = number * min(limit, 1 << (-(-len(rows) // number) - 1).bit_length())
        if mesh is not None:
            embed = functools.partial(checked_embed, run.dims, run.fusing, _spread(run, mesh))
    start = 0
    for batch, count in examples(rows, batch_size):
        found = embed(batch["features"], batch["present"], fused=fused)
        for name in names:
            embeddings[name][start : start + count] = on_host(found[name])[:count]
        start += count
    return embeddings


def _mesh(run: Run, wanted: int) -> Mesh | None:
    """The devices that hold the run or, where that is one, as many as wanted; None: that one."""
    mesh = _held_on(run)
    if mesh is not None and mesh.size > 1:
        return mesh
    devices = jax.local_devices()[:wanted]
    return mesh_of(Layout(), devices) if len(devices) > 1 else None


def _held_on(run: Run) -> Mesh | None:
    """The devices of a run that is being trained; None: of a loaded one."""
    sharding = getattr(jax.tree.leaves(run.variables)[0], "sharding", None)
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


def _spread(run: Run, mesh: Mesh) -> Callable[..., dict[str, Array]]:
    """As `embedded`, of batches that are split over the devices."""
    variables = run.variables
    if _held_on(run) != mesh:
        variables = jax.device_put(variables, on_all(mesh))
    of_all = of_batches(mesh)

    def part(x):
        return jax.make_array_from_callback(x.shape, of_all, lambda where: x[where])

    def program(features, present, fused):
        batch = jax.tree.map(part, (features, present))
        return _on_mesh(run.graphdef, run.config, mesh, variables, *batch, fused)

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

"""A run's towers as programs that need neither this library nor the code of the towers."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gramalign.extras import check_extra
from gramalign.files import make_folder, whole
from gramalign.training.model import abstract_model
from gramalign.training.restore import Run

PLATFORMS = ("cpu", "cuda", "tpu")


def write_programs(run: Run, out: Path | str, *, batch_size: int | None = None) -> dict[str, Path]:
    """Writes a program per modality, with its weights: float32 features to unit rows.

    JAX runs one by `jax.export.deserialize(bytearray(path.read_bytes())).call(features)`, on any of
    `PLATFORMS`, for at least six months of its versions; `mlir_module()` there is its StableHLO.
    Every row is taken as present; one with NaN is NaN. The same run gives the same bytes, in which
    no file of this machine is named.

    Args:
        run: the run.
        out: folder for MODALITY.stablehlo; files of that name are replaced.
        batch_size: the one number of rows that the programs take; None: they take any but
            0.

    Returns:
        The file of each modality.

    Raises:
        NotADirectoryError: `out` is a file.
        ValueError: flatbuffers is not installed; a number of rows below 1; or None, and a tower
            that needs to know it.
    """
    check_extra("stablehlo", "StableHLO", flatbuffers="flatbuffers")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1, or none for any")
    rows = jax.export.symbolic_shape("batch")[0] if batch_size is None else batch_size
    graphdef = nnx.graphdef(abstract_model(run.config, run.dims))
    programs = {modality: _program(run, graphdef, modality, rows) for modality in run.dims}
    make_folder(Path(out))
    files = {modality: Path(out) / f"{modality}.stablehlo" for modality in programs}
    for modality, program in programs.items():
        with whole(files[modality]) as draft:
            draft.write_bytes(program)
    return files


def _program(run, graphdef, modality, rows) -> bytes:
    variables = jax.tree.map(jnp.asarray, run.variables)

    @jax.jit
    def embed(x):
        return nnx.merge(graphdef, variables).encoder({modality: x})[modality]

    like = jax.ShapeDtypeStruct((rows, run.dims[modality]), np.float32)
    try:
        with _without_source_lines():
            return bytes(jax.export.export(embed, platforms=PLATFORMS)(like).serialize())
    except TypeError as error:
        if "DimExpr" not in str(error):  # what JAX has in the place of the number
            raise
        raise ValueError(
            f"the tower of {modality} needs to know the number of rows: {error}; take x.shape[0] "
            "where it has len(x), or give a number, batch_size (--batch-size)"
        ) from error


@contextlib.contextmanager
def _without_source_lines() -> Iterator[None]:
    """Keeps out of a program what JAX adds to each operation: who called it, in which file."""
    settings = {"include_full_tracebacks_in_locations": True, "traceback_in_locations_limit": 0}
    before = {name: getattr(jax.config, f"jax_{name}") for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(f"jax_{name}", value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(f"jax_{name}", value)

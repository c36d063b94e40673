"""Loss and gradient of GRAM, 4 modalities of 512, compiled for devices that are not there."""

from functools import cache

import jax
import jax.numpy as jnp

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.topology import mesh_along

DIM, MIB = 512, 2**20


@cache
def compiled(topology, batch, strategy, implementation="xla"):
    """Temporary memory in MiB, and the program; for bfloat16 embeddings."""
    mesh = mesh_along(topology)
    split = jax.NamedSharding(mesh, jax.P("data"))
    loss = losses.over_mesh(losses.gram, mesh)
    engine = Engine(strategy, implementation=implementation)

    def mean(x):
        return loss(x, anchor="a", engine=engine).mean()

    shapes = dict.fromkeys("abcd", jax.ShapeDtypeStruct((batch, DIM), jnp.bfloat16, sharding=split))
    step = jax.jit(jax.value_and_grad(mean), out_shardings=(None, dict.fromkeys("abcd", split)))
    program = step.lower(shapes).compile()
    return program.memory_analysis().temp_size_in_bytes / MIB, program.as_text()

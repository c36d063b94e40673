"""One of two processes with two devices each: `python -m tests.contrast.two_processes PORT ID OUT`.

Writes, from the first process, the weighted sum, values and gradients of every Score.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from tests.contrast.test_mesh import arguments_of, mesh_of, sharded
from tests.every_score import MAIN

KIND = "masked and grouped"
# The cheapest Score both ways.
CASES = [("cosine of two", "gather"), *((name, "ring") for name in MAIN)]


def leaves(tree):
    """Leaves by a name that a file can hold."""
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def main(port, process, out):
    """Join the other process, compute, write."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(process))
    assert (jax.device_count(), jax.local_device_count()) == (4, 2)
    mesh = mesh_of(data=4)
    everywhere = jax.NamedSharding(mesh, P())

    def replicated(x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, everywhere, lambda index: x[index])

    collect = jax.jit(lambda x: jax.tree.map(jnp.asarray, x), out_shardings=everywhere)
    found = {}
    for name, strategy in CASES:
        arguments = jax.tree.map(replicated, arguments_of(name, KIND))
        result = collect(sharded(name, mesh, "data", strategy)(*arguments))
        found |= {f"{name} {strategy} {key}": x for key, x in leaves(result).items()}
    if jax.process_index() == 0:
        np.savez(out, **jax.tree.map(np.asarray, found))


if __name__ == "__main__":
    main(*sys.argv[1:])

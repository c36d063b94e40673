"""The first step of a run on made-up rows of the modalities a and b."""

import jax
import numpy as np
from flax import nnx

from gramalign.training.layout import mesh_of, shardings
from gramalign.training.model import Model, split
from gramalign.training.optimizer import make_optimizer
from gramalign.training.state import init_state
from gramalign.training.step import make_step


def first_gradient(config, seed=1):
    """Loss, and the first moments of Adam: the gradient, to a factor."""
    mesh = mesh_of(config.layout)
    graphdef, params, fixed = split(Model(config, {"a": 5, "b": 5}, rngs=nnx.Rngs(params=0)))
    tx = make_optimizer(config.optimizer, config.steps)
    state = init_state(params, tx, jax.random.key(seed))
    state = jax.device_put(state, shardings(config.layout, mesh, state))
    rng, size = np.random.default_rng(0), config.batch_size
    data = {
        "features": {m: rng.normal(size=(size, 5)).astype(np.float32) for m in "ab"},
        "present": {m: rng.uniform(size=size) < 0.8 for m in "ab"},
        "groups": np.arange(size, dtype=np.int32),
    }
    state, metrics = make_step(config, graphdef, tx, mesh)(state, fixed, data)
    moments = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
    return jax.tree.map(np.asarray, (metrics["loss"], metrics["grad_norm"], moments))

"""Every loss and its gradient is finite where the geometry degenerates, however cold it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses, normalize
from tests import samples

BATCH, DIM = 4, 8
CASES = samples.degenerate_batches(BATCH, DIM)


def with_fused(x):
    """Normalised sums for fusions, some of them zero."""
    pairs = losses.fused_pairs(x).items()
    return x | {name: normalize(x[m] + x[n]) for name, (m, n) in pairs}


LOSSES = {
    "gram": lambda x, t: losses.gram(x, anchor="a", temperature=t),
    "clip": lambda x, t: losses.clip(x, anchor=None, temperature=t),
    "pmrl": lambda x, t: losses.pmrl(x, tau_alignment=t, tau_instance=t),
    "confu": lambda x, t: losses.confu(with_fused(x), temperature=t),
    "centrobind": lambda x, t: losses.centrobind(x, temperature=t),
    "barybind": lambda x, t: losses.barybind(x, barycentre="a", temperature=t),
    "barybind, centroid": lambda x, t: losses.barybind(x, temperature=t),
    "symile": lambda x, t: losses.symile(x, temperature=t),
    "symile, all": lambda x, t: losses.symile(x, negatives="all", temperature=t),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_finite(name):
    def total(x, temperature):
        values = LOSSES[name](dict(zip("abc", x, strict=True)), temperature)
        return jnp.vdot(values, jnp.arange(1.0, 1 + BATCH)), values

    derivative = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    mapped = jax.jit(jax.vmap(derivative, in_axes=(0, None)))
    stacked = jnp.asarray(np.stack(list(CASES.values())), jnp.float32)
    for temperature in (0.07, 0.001):
        (_, values), gradients = mapped(stacked, jnp.float32(temperature))
        for i, case in enumerate(CASES):
            assert np.isfinite(values[i]).all(), (case, temperature)
            assert all(np.isfinite(x[i]).all() for x in gradients), (case, temperature)

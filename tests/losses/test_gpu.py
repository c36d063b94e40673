"""Every loss on a GPU: the values and gradients of float64 on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine
from tests import every_loss, samples

pytestmark = pytest.mark.gpu

BATCH, DIM = 200, 32


def computed(name, device, dtype, rounded=None):
    """Loss of every example, and gradients by modality, with some missing and some groups."""
    rng = np.random.default_rng(0)
    names = every_loss.modalities_of(name)
    embeddings = samples.embeddings(rng, BATCH, DIM, names, dtype=np.float64)
    if rounded is not None:
        embeddings = {n: np.asarray(x, rounded) for n, x in embeddings.items()}
    present = samples.masks(rng, BATCH, names)

    def total(embeddings, present, groups, temperature):
        batch = dict(present=present, groups=groups, temperature=temperature)
        values = every_loss.EVERY[name](embeddings, engine=Engine(tile=64), **batch)
        return values.sum(), values

    with jax.enable_x64(dtype == "float64"), jax.default_device(device):
        arguments = (
            {n: jnp.asarray(x, dtype) for n, x in embeddings.items()},
            samples.as_jax(present),
            jnp.arange(BATCH, dtype=jnp.int32) % 90,
            jnp.asarray(0.2, "float64" if dtype == "float64" else "float32"),
        )
        (_, values), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(*arguments)
        return jax.tree.map(lambda x: np.asarray(x, np.float64), (values, gradients))


@pytest.mark.parametrize("name", every_loss.EVERY)
def test_float32(name):
    found = computed(name, jax.devices()[0], "float32")
    exact = computed(name, jax.devices("cpu")[0], "float64")
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), found, exact)


@pytest.mark.parametrize("name", ["gram", "clip", "pmrl"])
def test_bfloat16(name):
    """Against float64 of the rounded embeddings: what is rounded later is small."""
    found = computed(name, jax.devices()[0], "bfloat16")
    exact = computed(name, jax.devices("cpu")[0], "float64", rounded=jnp.bfloat16)
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-2, atol=1e-2)
    for slope, true in zip(*map(jax.tree.leaves, (found[1], exact[1])), strict=True):
        cosine = np.sum(slope * true) / np.linalg.norm(slope) / np.linalg.norm(true)
        assert cosine > 0.9999

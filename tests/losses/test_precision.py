"""Products of float32 numbers are in float32, on accelerators that would take a narrower type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import orthonormal_basis
from gramalign.programs.flops import FLOAT32_PASSES, traced_flops
from tests import every_loss, samples


def test_every_product_of_many_modalities():
    """Which are so many that they are stacked, and multiplied as matrices."""

    def total(x):
        basis = orthonormal_basis(x)
        return jnp.sum(basis.vectors) + jnp.sum(basis.volume)

    traced = jax.make_jaxpr(jax.grad(total))(jnp.ones((2, 7, 5)))
    assert traced_flops(traced, FLOAT32_PASSES) == 6 * traced_flops(traced) > 0


@pytest.mark.parametrize("name", every_loss.EVERY)
def test_every_product_of_a_loss_and_its_gradient(name):
    """By default a TPU would round the factors to bfloat16 and a GPU to TensorFloat32."""
    embeddings = samples.as_jax(
        samples.embeddings(
            np.random.default_rng(0), 8, 5, every_loss.modalities_of(name), dtype=np.float32
        )
    )
    settings = dict(temperature=jnp.array(0.3), groups=jnp.arange(8) % 5)
    mean = jax.value_and_grad(lambda x: jnp.mean(every_loss.EVERY[name](x, **settings)))
    traced = jax.make_jaxpr(mean)(embeddings)
    products = traced_flops(traced)
    assert traced_flops(traced, FLOAT32_PASSES) == 6 * products
    assert products > 0 or name in {"alignment", "distance", "modality gap"}

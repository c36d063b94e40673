"""A map of patches as one matrix product is the convolution that checkpoints know."""

import jax
import numpy as np
import pytest
from flax import nnx

from gramalign.models.pretrained.patch_map import PatchMap


@pytest.mark.parametrize(
    "size, patch, stride",
    [
        ((9, 8), (4, 3), (4, 3)),  # a row and two columns are left over
        ((11, 8), (4, 3), (2, 3)),
        ((7,), (3,), (1,)),
        ((5, 8, 6), (2, 4, 3), (2, 3, 3)),
        ((3, 9), (4, 3), (4, 3)),  # no room for a patch
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_map_of_patches_is_a_convolution(size, patch, stride, bias):
    options = {"use_bias": bias, "bias_init": nnx.initializers.normal()}
    conv = nnx.Conv(2, 5, patch, stride, padding="VALID", **options, rngs=nnx.Rngs(0))
    ours = PatchMap(2, 5, patch, stride, bias=bias)
    state = nnx.state(conv)
    nnx.update(ours, state)
    x = jax.random.normal(jax.random.key(2), (3, *size, 2))

    def loss(graphdef):
        return lambda state, x: (nnx.merge(graphdef, state)(x) ** 2).sum()

    functions = [loss(nnx.graphdef(module)) for module in (conv, ours)]
    np.testing.assert_allclose(ours(x), conv(x), atol=1e-6)
    expected, found = (jax.grad(f, (0, 1))(state, x) for f in functions)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), expected, found)
    assert "conv" not in str(jax.make_jaxpr(jax.grad(functions[1]))(state, x))

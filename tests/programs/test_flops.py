"""Counting the floating-point operations of matrix products."""

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.flops import FLOAT32_PASSES, matmul_flops, traced_flops

X = jax.ShapeDtypeStruct((64, 16), jnp.float32)


def product(x):
    return jnp.sum(jnp.tanh(x @ x.T))


ONE = 2 * 64 * 64 * 16


@pytest.mark.parametrize("padding, pairs", [("VALID", 10 * 3), ("SAME", 11 * 3 - 2)])
def test_convolutions(padding, pairs):
    """Of 21 frames, three at every second one; in two groups, from 4 channels to 8."""
    x = jax.ShapeDtypeStruct((5, 21, 4), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 2, 8), jnp.float32)
    settings = dict(dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=2)

    def total(x, kernel):
        sides = x, kernel, (2,), padding
        out = jax.lax.conv_general_dilated(*sides, **settings, precision="highest")
        return jnp.sum(jnp.tanh(out))

    once = 2 * 5 * pairs * 2 * 8
    assert matmul_flops(total, x, kernel) == once
    assert traced_flops(jax.make_jaxpr(total)(x, kernel), FLOAT32_PASSES) == 6 * once
    # The gradient of either side takes the same products in another order.
    for sides, times in ((0, 2), (1, 2), ((0, 1), 3)):
        assert matmul_flops(jax.grad(total, sides), x, kernel) == times * once


def test_convolutions_are_counted_as_xla_does():
    x, kernel = jnp.ones((2, 4, 9, 7)), jnp.ones((6, 4, 3, 2))

    def spread(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 1), ((1, 2), (0, 3)), lhs_dilation=(1, 3), rhs_dilation=(2, 1)
        )

    xla = jax.jit(spread).lower(x, kernel).cost_analysis()["flops"]
    assert matmul_flops(spread, x, kernel) == xla


def test_loops_count_as_often_as_they_run():
    def loop(x):
        return jax.lax.scan(lambda total, _: (total + product(x), None), 0.0, length=7)[0]

    assert matmul_flops(loop, X) == 7 * ONE


def test_jit_checkpoint_and_derivatives():
    assert matmul_flops(jax.jit(product), X) == ONE
    assert matmul_flops(jax.grad(product), X) == 3 * ONE
    assert matmul_flops(jax.value_and_grad(jax.checkpoint(product)), X) == 4 * ONE


def test_what_nothing_uses():
    def derivative_of_one(x):
        return jax.vjp(jnp.matmul, x, x.T)[1](jnp.ones((64, 64)))[0]

    assert matmul_flops(derivative_of_one, X) == ONE


def test_the_longer_branch():
    def either(x):
        return jax.lax.cond(x[0, 0] > 0, product, lambda x: product(x) + product(2 * x), x)

    assert matmul_flops(either, X) == 2 * ONE


def test_a_loop_of_unknown_length():
    def halved(x):
        return jax.lax.while_loop(lambda x: x[0, 0] > 1, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="how often it runs is unknown"):
        matmul_flops(halved, jax.ShapeDtypeStruct((4, 4), jnp.float32))


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("strategy", ["gather", "ring"])
def test_a_loss_takes_four_passes_however_it_is_split(strategy, devices):
    """Scores, the scores again, and a product for either side's derivative; k - 1 of each."""
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
    loss = losses.over_mesh(losses.gram, mesh)
    engine = Engine(strategy=strategy, tile=8)

    def mean(embeddings):
        return loss(embeddings, anchor="a", engine=engine).mean()

    embeddings = dict.fromkeys("abc", X)
    passes = (matmul_flops(jax.grad(mean), embeddings)) / (2 * ONE)
    assert passes == 4


def test_pmrl_takes_three_passes():
    """Its columns are its rows, so there is one derivative to take."""
    mean = jax.grad(lambda embeddings: losses.pmrl(embeddings, engine=Engine(tile=8)).mean())
    assert matmul_flops(mean, dict.fromkeys("abc", X)) == 3 * ONE


@pytest.mark.parametrize("precision, passes", [(None, 1), ("default", 1), ("high", 3)])
def test_float32_takes_several_products_of_bfloat16(precision, passes):
    traced = jax.make_jaxpr(lambda x: jnp.matmul(x, x.T, precision=precision))(X)
    assert traced_flops(traced, FLOAT32_PASSES) == passes * ONE
    assert traced_flops(traced) == ONE


def test_bfloat16_takes_one_product_at_any_precision():
    x = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16)
    traced = jax.make_jaxpr(lambda x: jnp.matmul(x, x.T, precision="highest"))(x)
    assert traced_flops(traced, FLOAT32_PASSES) == ONE


def test_one_side_in_float32_takes_the_products_of_float32():
    half = jax.ShapeDtypeStruct((16, 64), jnp.bfloat16)

    def mixed(x, half):
        return jax.lax.dot(x, half, precision="highest", preferred_element_type=jnp.float32)

    assert traced_flops(jax.make_jaxpr(mixed)(X, half), FLOAT32_PASSES) == 6 * ONE


def test_tiles_run_at_the_highest_precision():
    def mean(embeddings):
        return losses.clip(embeddings, anchor="a").mean()

    traced = jax.make_jaxpr(mean)(dict.fromkeys("ab", X))
    assert traced_flops(traced, FLOAT32_PASSES) == 6 * traced_flops(traced)

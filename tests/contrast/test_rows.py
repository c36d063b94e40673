"""Rows by their numbers: from any device, with a derivative that returns to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, rows_at


def fetching(devices, strategy):
    return jax.shard_map(
        lambda x, n: rows_at(x, n, axis_name="data", engine=Engine(strategy)),
        mesh=jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)),
        in_specs=jax.P("data"),
        out_specs=jax.P("data"),
    )


@pytest.mark.parametrize("strategy", ["gather", "ring"])
@pytest.mark.parametrize("size", [8, 16, 24, 40])
def test_rows_come_from_any_device_and_their_derivative_returns(strategy, size):
    x = np.arange(2 * size, dtype=np.float32).reshape(size, 2) + 1
    numbers = np.random.default_rng(0).integers(-1, size, size, np.int32)
    numbers[::7] = size, *[100] * (len(numbers[::7]) - 1)  # of no row either
    weights = x[::-1] - 1
    fetch = fetching(8, strategy)
    some = (numbers >= 0) & (numbers < size)
    wanted = np.where(some[:, None], x[np.where(some, numbers, 0)], 0)
    np.testing.assert_array_equal(jax.jit(fetch)(x, numbers), wanted)
    np.testing.assert_array_equal(jax.jit(rows_at)(x, numbers), wanted)
    found = jax.jit(jax.grad(lambda x: jnp.vdot(fetch(x, numbers), weights)))(x)
    exact = np.zeros((size, 2))
    np.add.at(exact, numbers[some], weights[some])
    np.testing.assert_allclose(found, exact)


def test_a_ring_s_derivative_takes_no_more_for_more_devices():
    def temporary(devices):
        fetch, rows = fetching(devices, "ring"), 256 * devices
        slope = jax.jit(jax.grad(lambda x, n: jnp.sum(fetch(x, n) ** 2)))
        like = (
            jax.ShapeDtypeStruct((rows, 64), jnp.float32),
            jax.ShapeDtypeStruct((rows,), jnp.int32),
        )
        return slope.lower(*like).compile().memory_analysis().temp_size_in_bytes

    assert temporary(8) <= 1.05 * temporary(2)

"""A run's towers are trained further in a loop of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gramalign import losses
from gramalign.data import load
from gramalign.models import Statistic
from gramalign.training import load_run


@pytest.fixture(scope="module")
def run(plain):
    return plain


@pytest.fixture(scope="module")
def batch(small_store):
    store = load(small_store)
    features = {name: jnp.asarray(x[:16]) for name, x in store.features.items()}
    return features, {"audio": jnp.arange(16) % 3 != 0}


def test_it_embeds_as_the_run_does(run, batch):
    found, wanted = run.encoder()(*batch), run.embed(*batch)
    assert found.keys() == wanted.keys()
    for name, rows in wanted.items():
        np.testing.assert_allclose(found[name], rows, atol=1e-6)
    assert not found["audio"][0].any()


def test_what_is_trained_is_a_copy(run, batch):
    features, present = batch
    before = run.embed(features)
    graphdef, params, fixed = nnx.split(run.encoder(), nnx.Param, Statistic)
    optimizer = optax.sgd(0.1)

    def loss(params):
        found = nnx.merge(graphdef, params, fixed)(features, present)
        values = losses.gram(found, present=present)
        return losses.masked_mean(values, losses.participants(found, present, "text"))

    @jax.jit(donate_argnums=(0, 1))
    def step(params, moments):
        value, slope = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(slope, moments)
        return optax.apply_updates(params, updates), moments, value

    moments, values = optimizer.init(params), []
    for _ in range(20):
        params, moments, value = step(params, moments)
        values.append(float(value))
    assert values[-1] < values[0] - 0.05
    trained = nnx.merge(graphdef, params, fixed)(features)
    for name, rows in run.embed(features).items():
        np.testing.assert_array_equal(rows, before[name])
        assert jnp.max(jnp.abs(trained[name] - rows)) > 0.01
        np.testing.assert_allclose(run.encoder()(features)[name], rows, atol=1e-6)


def test_it_needs_no_more_than_the_file(run, batch, tmp_path):
    (tmp_path / "params.safetensors").write_bytes((run.folder / "params.safetensors").read_bytes())
    again = load_run(tmp_path).encoder()(*batch)
    for name, rows in run.encoder()(*batch).items():
        np.testing.assert_array_equal(again[name], rows)

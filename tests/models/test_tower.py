import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models import Standardize, Statistic, Tower

X = np.random.default_rng(0).normal(3.0, 2.0, (32, 5)).astype(np.float32)


def tower(dropout=0.0, depth=2, **statistics):
    return Tower(
        5, 4, hidden=8, depth=depth, dropout=dropout, rngs=nnx.Rngs(params=0), **statistics
    )


def test_standardised_training_rows_have_zero_mean_and_unit_deviation():
    out = np.asarray(Standardize(5, X.mean(0), X.std(0))(jnp.asarray(X)))
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-5)


def test_a_constant_feature_is_shifted_and_not_blown_up():
    x = np.full((32, 2), 0.1, np.float32)
    rounding = np.array([1e-9, 0.0], np.float32)
    out = Standardize(2, x.mean(0), rounding)(jnp.asarray(x + 1e-3))
    np.testing.assert_allclose(out, 1e-3, rtol=1e-3)


def test_the_output_is_a_linear_path_plus_a_perceptron():
    model = tower(mean=X.mean(0), std=X.std(0))
    assert model(jnp.asarray(X)).shape == (32, 4)
    z = (X - X.mean(0)) / X.std(0)
    hidden = z.astype(np.float64)
    for layer in model.layers:
        y = hidden @ np.asarray(layer.kernel[...])
        hidden = y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    linear, head = (np.asarray(of.kernel[...]) for of in (model.linear, model.head))
    np.testing.assert_allclose(model(jnp.asarray(X)), z @ linear + hidden @ head, atol=5e-6)


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_counts_hidden_layers(depth):
    model = tower(depth=depth)
    assert [layer.out_features for layer in model.layers] == [8] * depth
    assert model.linear.bias is None  # the head has one


def test_without_hidden_layers_it_is_a_linear_map():
    model = tower(depth=0, dropout=0.5)
    model.linear.bias[...] = jnp.arange(4.0)
    named = sorted(".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model)))
    assert named == ["linear.bias", "linear.kernel", "standardize.mean", "standardize.std"]
    expected = X @ np.asarray(model.linear.kernel[...]) + np.arange(4)
    drawn = jax.random.split(jax.random.key(0), 32)
    np.testing.assert_allclose(model(jnp.asarray(X), dropout_keys=drawn), expected, atol=1e-5)


def test_dropout_needs_a_key_and_follows_from_it():
    model, x = tower(dropout=0.5), jnp.asarray(X)
    keys, others = (jax.random.split(jax.random.key(seed), len(x)) for seed in (1, 2))
    first, second = model(x, dropout_keys=keys), model(x, dropout_keys=others)
    assert (first != second).any()
    np.testing.assert_array_equal(first, model(x, dropout_keys=keys))
    np.testing.assert_array_equal(model(x), tower(dropout=0.0)(x))


def test_dropout_drops_its_share_of_hidden_units_and_scales_the_rest():
    model, x = tower(0.25, depth=1, mean=X.mean(0), std=X.std(0)), jnp.asarray(X)
    model.linear.kernel[...] = jnp.zeros((5, 4))
    model.head.kernel[...] = jnp.eye(8, 4)  # so that half of the hidden units are the output
    dropped = model(x, dropout_keys=jax.random.split(jax.random.key(0), len(x)))
    kept = np.asarray(dropped != 0)
    np.testing.assert_allclose(dropped, np.where(kept, model(x) / 0.75, 0), rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.1


def test_each_layer_drops_units_of_its_own():
    model, x = tower(0.5, mean=X.mean(0), std=X.std(0)), jnp.asarray(X)
    model.linear.kernel[...] = jnp.zeros((5, 4))
    model.layers[1].kernel[...], model.head.kernel[...] = jnp.eye(8), jnp.eye(8, 4)
    kept = model(x, dropout_keys=jax.random.split(jax.random.key(0), len(x))) != 0
    assert abs(kept.mean() - 0.25) < 0.1


def test_statistics_are_not_trained():
    _, params, statistics = nnx.split(tower(), nnx.Param, Statistic)
    assert "standardize" not in nnx.to_pure_dict(params)
    assert set(nnx.to_pure_dict(statistics)["standardize"]) == {"mean", "std"}


def test_statistics_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"mean has shape \(3,\), expected \(5,\)"):
        Standardize(5, np.zeros(3), np.ones(5))

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models import Towers

rng = np.random.default_rng(0)
FEATURES = {
    "text": jnp.asarray(rng.normal(size=(6, 5)), jnp.float32),
    "audio": jnp.asarray(rng.normal(size=(6, 3)), jnp.float32),
}
PRESENT = {"audio": jnp.array([True, False, True, True, False, True])}


@pytest.fixture
def towers():
    shape = {"hidden": 8, "depth": 1, "dropout": 0.2}
    return Towers({"text": 5, "audio": 3}, 4, rngs=nnx.Rngs(params=0), **shape)


def test_each_tower_has_the_statistics_of_its_modality():
    statistics = {"text": (np.arange(5.0), np.arange(1.0, 6.0))}
    shape = {"hidden": 8, "depth": 1, "statistics": statistics}
    towers = Towers({"text": 5, "audio": 3}, 4, rngs=nnx.Rngs(params=0), **shape).towers
    for name, exact in (statistics | {"audio": (np.zeros(3), np.ones(3))}).items():
        found = towers[name].standardize
        np.testing.assert_array_equal([found.mean[...], found.std[...]], exact)


def test_rows_have_unit_length_and_absent_rows_are_zero(towers):
    embeddings = towers(FEATURES, PRESENT)
    np.testing.assert_allclose(jnp.linalg.norm(embeddings["text"], axis=1), 1, rtol=1e-6)
    expected = np.asarray(PRESENT["audio"], np.float32)
    np.testing.assert_allclose(jnp.linalg.norm(embeddings["audio"], axis=1), expected, rtol=1e-6)
    assert (embeddings["audio"][1] == 0).all()


def test_absent_rows_may_hold_nan_and_leave_the_gradient_alone(towers):
    graphdef, params, rest = nnx.split(towers, nnx.Param, ...)

    def loss(params, audio):
        embeddings = nnx.merge(graphdef, params, rest)({**FEATURES, "audio": audio}, PRESENT)
        return sum(jnp.sum(rows**3) for rows in embeddings.values())

    here = PRESENT["audio"][:, None]
    poisoned = jnp.where(here, FEATURES["audio"], jnp.nan)
    expected = jax.grad(loss)(nnx.to_pure_dict(params), FEATURES["audio"])
    got = jax.grad(loss)(nnx.to_pure_dict(params), poisoned)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert np.isfinite(jax.tree.reduce(lambda total, leaf: total + leaf.sum(), got, jnp.zeros(())))


def test_fewer_modalities_embed_to_the_same_rows(towers):
    everything = towers(FEATURES)
    alone = towers({"audio": FEATURES["audio"]})
    assert list(alone) == ["audio"]
    np.testing.assert_array_equal(alone["audio"], everything["audio"])


def test_towers_draw_different_dropout():
    wide = Towers({"a": 5, "b": 5}, 4, hidden=64, depth=1, dropout=0.5, rngs=nnx.Rngs(params=0))
    wide.towers["b"] = wide.towers["a"]
    x = FEATURES["text"]
    same = wide({"a": x, "b": x})
    np.testing.assert_array_equal(same["a"], same["b"])
    dropped = wide({"a": x, "b": x}, dropout_keys=jax.random.split(jax.random.key(0), len(x)))
    assert (dropped["a"] != dropped["b"]).any()


def test_an_unknown_modality_is_named(towers):
    with pytest.raises(ValueError, match=r"got \['video'\], expected any of \['audio', "):
        towers({"video": FEATURES["text"]})


class Own(nnx.Module):
    """Multiplies in bfloat16, and brings a bias to begin with."""

    def __init__(self, features, dim, *, begin=4, rngs):
        self.linear = nnx.Linear(features, dim, dtype=jnp.bfloat16, rngs=rngs)
        self.begin = begin

    def __call__(self, x):
        return self.linear(x)

    def initial_weights(self):
        return {"linear.bias": np.ones(self.begin, np.float32)}


def own(**settings):
    shape = {"hidden": 8, "depth": 1, "tower": Own, "settings": settings}
    return Towers({"text": 5}, 4, rngs=nnx.Rngs(params=0), **shape)


def test_embeddings_are_float32_whatever_a_tower_returns():
    assert own()({"text": FEATURES["text"]})["text"].dtype == jnp.float32


def test_initial_weights_of_another_shape_are_refused():
    assert own(begin=4).initial_weights().keys() == {"towers.text.linear.bias"}
    told = r"tower of text has initial weights linear.bias of shape \(3,\), .* shape, \(4,\)"
    with pytest.raises(ValueError, match=told):
        own(begin=3).initial_weights()

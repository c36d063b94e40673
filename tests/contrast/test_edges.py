"""In float32: the dense formula, and batches of one, of none, all alike, broken, or very cold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import contrast_engine as engine
from tests import reference

TILE = 6
FLOAT = np.float32
# Factors that are a vector, and vectors and numbers; and a Score without an anchor. That slopes
# are finite and that NaN comes through is tested of every Score in `tests/scores`.
NAMES = ("cosine of two", "volume", "direction")


def run(name, batch):
    """Values, then gradients by modality, then that of the scale."""
    (_, values), (by_modality, by_scale) = engine.derivative(name, TILE)(
        *jax.tree.map(jnp.asarray, batch)
    )
    return np.asarray(values), by_modality, by_scale


@pytest.mark.parametrize("name", NAMES)
def test_the_dense_formula(name):
    engine.check(name, TILE, "masked and grouped", FLOAT, 5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_takes_part(name):
    found = run(name, engine.batch("nothing", FLOAT))
    for number in jax.tree.leaves(found):
        np.testing.assert_array_equal(number, 0)


@pytest.mark.parametrize("name", NAMES)
def test_one_takes_part(name):
    """An example without competitors has nothing to lose, whether alone or the only valid one."""
    embeddings, scale, weights, present, groups = engine.batch("plain", FLOAT)
    only = {m: np.arange(engine.BATCH) == 3 for m in present}
    for number in jax.tree.leaves(run(name, (embeddings, scale, weights, only, groups))):
        np.testing.assert_allclose(number, 0, atol=1e-6)
    same = np.zeros_like(groups)
    for number in jax.tree.leaves(run(name, (embeddings, scale, weights, present, same))):
        np.testing.assert_allclose(number, 0, atol=1e-6)


def test_batch_of_one():
    embeddings, scale, _, _, _ = engine.batch("plain", FLOAT)
    one = {m: jnp.asarray(x[:1]) for m, x in embeddings.items()}

    def value(x):
        return engine.losses("cosine of two", x, float(scale), None, None)[0]

    for number in jax.tree.leaves(jax.jit(jax.value_and_grad(value))(one)):
        np.testing.assert_allclose(number, 0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_everything_alike_is_chance(name):
    embeddings, scale, weights, present, groups = engine.batch("plain", FLOAT)
    alike = {m: np.broadcast_to(embeddings["a"][:1], x.shape) for m, x in embeddings.items()}
    values, by_modality, _ = run(name, (alike, scale, weights, present, groups))
    np.testing.assert_allclose(values, np.log(engine.BATCH), rtol=1e-3)
    assert all(np.isfinite(x).all() for x in by_modality.values())


@pytest.mark.parametrize("name", ["cosine of two", "volume"])
def test_a_temperature_of_a_thousandth(name):
    embeddings, _, weights, present, groups = engine.batch("plain", FLOAT)
    scale = FLOAT(1000)
    values, by_modality, by_scale = run(name, (embeddings, scale, weights, present, groups))
    exact = engine.dense(name, embeddings, scale, present, groups)
    np.testing.assert_allclose(values, exact, rtol=1e-4, atol=2e-2)  # 1000 x float32's rounding
    assert all(np.isfinite(x).all() for x in [*by_modality.values(), by_scale])


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_example_is_not_overlooked(name):
    """NaN must reach all who compete with it: a finite loss would hide that training is lost."""
    embeddings, scale, weights, present, groups = engine.batch("plain", FLOAT)
    broken = {m: x.copy() for m, x in embeddings.items()}
    broken["b"][3] = np.nan
    values, _, _ = run(name, (broken, scale, weights, present, groups))
    assert np.isnan(values).all()
    absent = {m: np.arange(engine.BATCH) != 3 for m in present}
    values, by_modality, _ = run(name, (broken, scale, weights, absent, groups))
    assert np.isfinite(values).all() and values[3] == 0
    assert all(np.isfinite(x).all() for x in by_modality.values())


def test_logits_far_apart_lose_no_example():
    """Log-sum-exps are joined tile by tile; a later tile may be larger by any factor."""
    angles = np.linspace(0, np.pi, engine.BATCH)
    plane = np.stack([np.cos(angles), np.sin(angles)] + [0 * angles] * (engine.DIM - 2), axis=1)
    embeddings, _, weights, present, groups = engine.batch("plain", FLOAT)
    line = {m: plane.astype(FLOAT) for m in embeddings}
    for order in (slice(None), slice(None, None, -1)):
        turned = {m: x[order] for m, x in line.items()}
        values, _, _ = run("cosine of two", (turned, FLOAT(300), weights, present, groups))
        scores = 300 * reference.cosine_scores(turned, None, "a", "b")
        exact = reference.contrast(scores, scale=1, label_smoothing=engine.SMOOTHING)
        np.testing.assert_allclose(values, exact, rtol=1e-4)

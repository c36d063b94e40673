"""What is special to the losses whose targets are a group's members, or every pair by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, contrast, sigmoid_contrast
from gramalign.scores import CosineScore
from tests import contrast_engine as engine
from tests import reference

NAME, TILE, FLOAT = "cosine of two", 6, np.float32
SCORE = CosineScore("a", "b")
BOTH = ["supervised", "sigmoid"]


def run(loss, batch):
    """Values, then gradients by modality, then that of the scale."""
    (_, values), (by_modality, by_scale) = engine.derivative(NAME, TILE, loss)(
        *jax.tree.map(jnp.asarray, batch)
    )
    return np.asarray(values), by_modality, by_scale


def bias(scale):
    return -(scale**2) / 20


@pytest.mark.parametrize("loss", BOTH)
def test_the_dense_formula_in_float32(loss):
    engine.check(NAME, TILE, "masked and grouped", FLOAT, 5e-5, loss)


@pytest.mark.parametrize("loss", BOTH)
def test_nobody_takes_part(loss):
    for number in jax.tree.leaves(run(loss, engine.batch("nothing", FLOAT))):
        np.testing.assert_array_equal(number, 0)


@pytest.mark.parametrize("loss", BOTH)
def test_one_takes_part(loss):
    """With itself for the only candidate, or only asked about its own match."""
    embeddings, scale, weights, present, groups = engine.batch("grouped", FLOAT)
    only = {m: np.arange(engine.BATCH) == 3 for m in present}
    values, by_modality, by_scale = run(loss, (embeddings, scale, weights, only, groups))
    exact = np.zeros(engine.BATCH)
    if loss == "sigmoid":
        logit = scale * np.vdot(embeddings["a"][3], embeddings["b"][3]) + bias(scale)
        exact[3] = np.logaddexp(0, -logit)
    else:
        for number in jax.tree.leaves((by_modality, by_scale)):
            np.testing.assert_array_equal(number, 0)
    np.testing.assert_allclose(values, exact, atol=1e-6)


@pytest.mark.parametrize("loss", BOTH)
def test_a_batch_of_one(loss):
    embeddings, scale, _, _, _ = engine.batch("plain", FLOAT)
    one, groups = {m: x[:1] for m, x in embeddings.items()}, np.zeros(1, np.int32)
    values = jax.jit(partial(engine.losses, NAME, present=None, loss=loss))(
        one, scale, groups=groups
    )
    np.testing.assert_allclose(
        values, engine.dense(NAME, one, scale, {}, groups, loss), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("loss", BOTH)
def test_a_broken_example_is_not_overlooked(loss):
    embeddings, scale, weights, present, groups = engine.batch("grouped", FLOAT)
    broken = {m: x.copy() for m, x in embeddings.items()}
    broken["b"][3] = np.nan
    values, _, _ = run(loss, (broken, scale, weights, present, groups))
    meets_it = np.ones(engine.BATCH, bool)
    if loss == "sigmoid":  # members of its group are never asked about it
        meets_it = (groups != groups[3]) | (np.arange(engine.BATCH) == 3)
    np.testing.assert_array_equal(np.isnan(values), meets_it)
    absent = {m: np.arange(engine.BATCH) != 3 for m in present}
    values, by_modality, _ = run(loss, (broken, scale, weights, absent, groups))
    assert np.isfinite(values).all() and values[3] == 0
    assert all(np.isfinite(x).all() for x in by_modality.values())


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("scale", [300, 3000])
def test_huge_logits(loss, scale):
    """An exponential of them would overflow; the sigmoid's bias is -4500 and -450 000 then."""
    embeddings, _, weights, present, groups = engine.batch("grouped", FLOAT)
    values, by_modality, by_scale = run(loss, (embeddings, FLOAT(scale), weights, present, groups))
    exact = engine.dense(NAME, embeddings, float(scale), present, groups, loss)
    np.testing.assert_allclose(values, exact, rtol=1e-5, atol=1e-3)
    assert all(np.isfinite(x).all() for x in [*by_modality.values(), by_scale])


def scored(embeddings):
    return SCORE, SCORE.rows(embeddings), SCORE.cols(embeddings), SCORE.matched(embeddings)


@partial(jax.jit, static_argnames=("supervised", "engine"))
def softmax(embeddings, **options):
    return contrast(*scored(embeddings), **options)


@partial(jax.jit, static_argnames="engine")
def sigmoid(embeddings, **options):
    return sigmoid_contrast(*scored(embeddings), **options)


def pairs(size):
    embeddings = engine.batch("plain", FLOAT)[0]
    return {m: jnp.asarray(embeddings[m][:size]) for m in "ab"}


def test_copies_of_every_example_double_the_negatives():
    """Told to be copies by their groups, they are asked about each other as little as by itself."""
    once = pairs(5)
    twice = {m: jnp.concatenate([x, x]) for m, x in once.items()}
    options = dict(scale=7.5, bias=-3.0)
    groups = jnp.tile(jnp.arange(5), 2)
    found = sigmoid(twice, groups=groups, engine=Engine(tile=4), **options)
    values = sigmoid(once, **options)
    cosines = np.einsum("nd,nd->n", *(np.asarray(x, np.float64) for x in once.values()))
    positive = np.logaddexp(0, 3.0 - 7.5 * cosines)
    np.testing.assert_allclose(found, np.tile(2 * values - positive, 2), rtol=1e-5)


def test_a_group_of_one_s_own_is_no_supervision():
    x = pairs(7)
    found = softmax(x, scale=7.5, groups=jnp.arange(7), supervised=True)
    np.testing.assert_allclose(found, softmax(x, scale=7.5), rtol=3e-7)


def test_two_classes():
    """Collapsed to one point each: log 2 of two members, and what the other class takes."""
    x = jnp.eye(4)[jnp.array([0, 0, 1, 1, 1])]
    groups = jnp.array([7, 7, -1, -1, -1])
    found = softmax({"a": x, "b": x}, scale=3.0, groups=groups, supervised=True)
    of_two, of_three = np.log(2 + 3 * np.exp(-3)), np.log(3 + 2 * np.exp(-3))
    np.testing.assert_allclose(found, [of_two] * 2 + [of_three] * 3, rtol=1e-6)


def test_one_group_for_all():
    """Everybody is everybody's positive: the cross-entropy of an even target with the softmax."""
    x = pairs(6)
    scores = reference.cosine_scores(jax.tree.map(np.asarray, x), None, "a", "b")
    log_softmax = [5 * s - np.log(np.exp(5 * s).sum(1, keepdims=True)) for s in (scores, scores.T)]
    exact = -np.mean([x.mean(axis=1) for x in log_softmax], axis=0)
    same = jnp.zeros(6, jnp.int32)
    found = softmax(x, scale=5.0, groups=same, supervised=True)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    alone = sigmoid(x, scale=5.0, bias=-1.0, groups=same)
    np.testing.assert_allclose(alone, np.logaddexp(0, 1 - 5 * np.diag(scores)), rtol=1e-5)


def test_second_derivatives_of_the_sigmoid(x64):
    arguments = jax.tree.map(jnp.asarray, engine.batch("masked and grouped"))
    embeddings, scale, *others = arguments
    steps = [jax.tree.map(jnp.asarray, step) for step in engine.directions(2)]
    steps = [({m: step[m] for m in "abc"}, step["scale"]) for step in steps]
    embeddings = {m: jnp.nan_to_num(x) for m, x in embeddings.items()}

    def slope(point, step):
        """Along a direction, of the gradient by embeddings and scale."""

        def total(embeddings, scale):
            return engine.weighted(
                NAME, embeddings, scale, *others, loss="sigmoid", engine=Engine(tile=TILE)
            )[0]

        slopes = jax.grad(total, argnums=(0, 1))(*point)
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, slopes, step)))

    both = jax.jit(jax.value_and_grad(slope))
    first, second = steps
    _, curved = both((embeddings, scale), first)
    found = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, curved, second)))

    def moved(x):
        return both(jax.tree.map(lambda p, s: p + x * s, (embeddings, scale), second), first)[0]

    exact = reference.directional_derivative(moved, 0.0, 1.0)
    np.testing.assert_allclose(found, exact, rtol=1e-6)

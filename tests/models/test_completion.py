"""Probabilistic PCA of a tuple: against the Gaussian that it is, written out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gramalign.models import Completion
from tests import samples

BATCH, DIM, RANK = 7, 8, 3
NAMES = ("a", "b", "c")
#        a  b  c
HAVE = [[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
PRESENT = {name: np.array(HAVE, bool)[:, i] for i, name in enumerate(NAMES)}
EMBEDDINGS = samples.embeddings(np.random.default_rng(0), BATCH, DIM, "abc")


def completion(rank=RANK, dim=DIM):
    return Completion(NAMES, dim, rank=rank, rngs=nnx.Rngs(params=0))


@pytest.fixture(scope="module")
def model():
    """One with a different Gaussian for each modality."""
    made, rng = completion(), np.random.default_rng(1)
    for number, name in enumerate(NAMES):
        made.weights[name][...] = jnp.asarray(rng.normal(size=(RANK, DIM)), jnp.float32)
        made.means[name][...] = jnp.asarray(rng.normal(size=DIM) / 3, jnp.float32)
        made.log_noise[name][...] = jnp.float32(0.2 * number - 0.5)
    return made


def exact(model, row):
    """What is expected of each modality, and minus the log-likelihood by number."""
    weights, means = (
        np.concatenate([np.asarray(of[name][...], float) for name in NAMES], axis=-1)
        for of in (model.weights, model.means)
    )
    noise = np.repeat([np.exp(2 * float(model.log_noise[m][...])) for m in NAMES], DIM) + 1e-4
    x = np.sqrt(DIM) * np.concatenate([EMBEDDINGS[name][row] for name in NAMES]) - means
    seen = np.repeat(np.array(HAVE[row], bool), DIM)
    covariance = (weights.T @ weights + np.diag(noise))[np.ix_(seen, seen)]
    solved = np.linalg.solve(covariance, x[seen])
    expected = (weights.T @ weights[:, seen] @ solved + means).reshape(3, DIM)
    _, determinant = np.linalg.slogdet(covariance)
    number = int(seen.sum())
    surprise = (x[seen] @ solved + determinant + number * np.log(2 * np.pi)) / 2
    return samples.normalized(expected), surprise / max(number, 1)


@pytest.mark.parametrize("unknown", [0.0, np.nan])
def test_a_gaussian_of_all_modalities(model, unknown):
    given = {
        name: np.where(PRESENT[name][:, None], x, np.float32(unknown))
        for name, x in EMBEDDINGS.items()
    }
    expected, surprise = jax.jit(lambda *batch: model(*batch))(
        samples.as_jax(given), samples.as_jax(PRESENT)
    )
    for row in range(BATCH):
        vectors, wanted = exact(model, row)
        for name, vector in zip(NAMES, vectors, strict=True):
            np.testing.assert_allclose(expected[name][row], vector, atol=2e-6)
        np.testing.assert_allclose(surprise[row], wanted, atol=2e-6)


def test_modalities_that_are_left_out_are_absent(model):
    some = {name: EMBEDDINGS[name] for name in "ca"}
    found, surprise = model(samples.as_jax(some))
    masked = {"b": jnp.zeros(BATCH, bool)}
    wanted, like = model(samples.as_jax(EMBEDDINGS), masked)
    for name in NAMES:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
    np.testing.assert_allclose(surprise, like, atol=1e-6)


def test_at_first_elements_vary_as_much_as_those_of_scaled_unit_rows():
    made = completion()
    for name in NAMES:
        shared, noise = made.weights[name][...], np.exp(2 * made.log_noise[name][...])
        assert np.mean(np.sum(shared**2, axis=0)) == pytest.approx(0.5) and noise == pytest.approx(
            0.5
        )


def test_at_first_what_is_missing_is_where_the_others_are():
    """With all directions, exactly there."""
    rows = samples.as_jax(EMBEDDINGS)
    expected, _ = completion(rank=DIM)(rows, {"c": jnp.zeros(BATCH, bool)})
    together = samples.normalized(EMBEDDINGS["a"] + EMBEDDINGS["b"])
    np.testing.assert_allclose(expected["c"], together, atol=2e-6)


@pytest.fixture(scope="module")
def trained():
    """By likelihood, on views of three numbers, of which one in three is missing."""
    rng = np.random.default_rng(2)
    cause = rng.normal(size=(600, RANK))
    views = {
        name: samples.normalized(
            cause @ rng.normal(size=(RANK, DIM)) + 0.2 * rng.normal(size=(600, DIM))
        ).astype(np.float32)
        for name in NAMES
    }
    there = {name: rng.random(600) > 1 / 3 for name in NAMES}
    graphdef, params = nnx.split(completion())
    tx = optax.sgd(0.5, momentum=0.9)

    @jax.jit
    def step(params, state):
        def loss(params):
            return nnx.merge(graphdef, params)(views, there)[1].mean()

        updates, state = tx.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(300):
        params, state = step(params, state)
    return nnx.merge(graphdef, params), views, there


def test_likelihood_finds_what_is_missing(trained):
    model, views, there = trained
    expected, _ = model(views, there)
    others, _ = completion()(views, there)
    for name in NAMES:
        lost = ~there[name] & np.any([there[m] for m in NAMES], axis=0)
        right, began = (
            float(np.sum(x[name] * views[name], axis=1)[lost].mean()) for x in (expected, others)
        )
        assert right > 0.85 > 0.5 > began


def test_equal_modalities_have_a_bounded_likelihood():
    model = completion(rank=DIM)
    for name in NAMES:
        model.log_noise[name][...] = jnp.float32(-100)
    same = dict.fromkeys(NAMES, samples.as_jax(EMBEDDINGS)["a"])

    def surprise(model):
        return model(same)[1].mean()

    value, slope = nnx.value_and_grad(surprise)(model)
    assert jnp.isfinite(value) and all(jnp.isfinite(x).all() for x in jax.tree.leaves(slope))


@pytest.mark.parametrize(
    ("names", "rank", "message"),
    [
        (("a",), 2, r"two or more, each once, got \['a'\]"),
        (("a", "a"), 2, r"two or more, each once, got \['a', 'a'\]"),
        (NAMES, 0, r"rank is 0, expected a value within \[1, 8\]"),
        (NAMES, 9, r"rank is 9, expected a value within \[1, 8\]"),
    ],
)
def test_bad_settings(names, rank, message):
    with pytest.raises(ValueError, match=message):
        Completion(names, DIM, rank=rank, rngs=nnx.Rngs(params=0))


@pytest.mark.parametrize(
    ("name", "width"), [("d", DIM), ("c", DIM + 1)], ids=["another modality", "another width"]
)
def test_what_it_does_not_know(model, name, width):
    rows = {"a": jnp.ones((2, DIM)), name: jnp.ones((2, width))}
    with pytest.raises(ValueError, match=rf"'{name}'\] is {width} wide, expected any of .* 8 wide"):
        model(rows)

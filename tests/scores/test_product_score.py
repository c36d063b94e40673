"""What is special to the product: its scale, what it is between two, and its blind spots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import CosineScore, ProductScore
from tests import reference, samples
from tests.every_score import both

DIM = 16


def scores(embeddings, present=None, scaled=False):
    return both(ProductScore("a", scaled), samples.as_jax(embeddings), present)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("k", [2, 3, 6])
def test_tile_and_matched_in_float64(k, scaled, x64):
    rng = np.random.default_rng(k)
    embeddings = samples.embeddings(rng, 7, DIM, "abcdef"[:k], dtype=np.float64)
    present = samples.masks(rng, 7, embeddings)
    exact = reference.product_scores(embeddings, present, "a", scaled)
    broken = {m: np.where(present[m][:, None], x, np.nan) for m, x in embeddings.items()}
    tile, matched = scores(broken, samples.as_jax(present), scaled=scaled)
    some = np.any([present[m] for m in embeddings if m != "a"], axis=0)
    np.testing.assert_allclose(tile[:, some], exact[:, some], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(matched[some], np.diag(exact)[some], rtol=1e-10, atol=1e-10)


def test_between_two_it_is_the_inner_product():
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), 7, DIM, "ab"))
    exact, _ = both(CosineScore("a", "b"), embeddings)
    for found, wanted in zip(scores(embeddings), (exact, jnp.diag(exact)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    scaled, _ = scores(embeddings, scaled=True)
    np.testing.assert_allclose(scaled, DIM**0.5 * exact, rtol=1e-5)


@pytest.mark.parametrize(("k", "dim"), [(2, 128), (3, 8), (5, 128)])
def test_scaled_scores_of_random_directions_are_of_size_1(k, dim):
    embeddings = dict(
        zip("abcde", samples.unit(np.random.default_rng(0), k, 256, dim), strict=False)
    )
    tile, _ = scores(embeddings, scaled=True)
    np.testing.assert_allclose(np.mean(np.square(tile)), 1, rtol=0.15)


def test_scaled_half_precision_neither_vanishes_nor_overflows():
    rng = np.random.default_rng(0)
    tuples = samples.unit(rng, 6, 8, 1024)
    half = {m: jnp.asarray(x, jnp.float16) for m, x in zip("abcdef", tuples, strict=True)}
    exact = reference.product_scores({m: np.asarray(x) for m, x in half.items()}, None, "a", True)
    np.testing.assert_allclose(scores(half, scaled=True)[0], exact, rtol=1e-4, atol=1e-4)


@jax.jit
@jax.grad
def slopes(embeddings):
    """Of the matched scores, by every modality."""
    return ProductScore("a").matched(embeddings).sum()


def test_two_flipped_vectors_cancel():
    embeddings = samples.embeddings(np.random.default_rng(0), 7, DIM)
    flipped = embeddings | {m: -embeddings[m] for m in "ac"}
    for found, wanted in zip(scores(flipped), scores(embeddings), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_disjoint_supports_hide_the_third():
    """Even, even and odd axes: nothing moves the even ones, whatever they are."""
    embeddings = samples.embeddings(np.random.default_rng(0), 7, DIM)
    even = np.arange(DIM) % 2 == 0
    parts = {m: np.where(even == (m != "c"), x, 0) for m, x in embeddings.items()}
    for found in scores(parts):
        np.testing.assert_array_equal(found, 0)
    found = slopes(samples.as_jax(parts))
    np.testing.assert_array_equal(found["a"], 0)
    np.testing.assert_array_equal(found["b"], 0)
    np.testing.assert_allclose(found["c"], parts["a"] * parts["b"], rtol=1e-6)


def test_three_disjoint_supports_have_no_gradient():
    embeddings = samples.embeddings(np.random.default_rng(0), 7, DIM)
    parts = {m: np.where(np.arange(DIM) % 3 == i, embeddings[m], 0) for i, m in enumerate("abc")}
    for found in slopes(samples.as_jax(parts)).values():
        np.testing.assert_array_equal(found, 0)


def test_equal_vectors_score_by_how_they_lie_on_the_axes():
    one = jnp.eye(DIM)[:1]
    spread = jnp.full((1, DIM), DIM**-0.5)
    for vector, exact in ((one, 1.0), (spread, DIM**-0.5)):
        np.testing.assert_allclose(scores(dict.fromkeys("abc", vector))[1], exact, rtol=1e-6)

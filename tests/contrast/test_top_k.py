"""The best columns for every row, against a dense sort."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, top_k
from gramalign.scores import Side
from tests import samples
from tests.every_score import SCORES, score_matrix, valid

QUERIES, GALLERY, DIM, TILE = 5, 13, 6, 4


@partial(jax.jit, static_argnums=(0, 4))
def found_top(name, embeddings, present, chosen, k):
    """Of the chosen rows against all columns."""
    score = SCORES[name]
    rows = jax.tree.map(lambda x: x[chosen], score.rows(embeddings, present))
    return top_k(score, rows, score.cols(embeddings, present), k, engine=Engine(tile=TILE))


@pytest.mark.parametrize(
    ("name", "k"), [("cosine of two", GALLERY), ("volume", 3), ("spectral", 3), ("direction", 3)]
)
def test_best_first_and_of_equals_the_first(name, k):
    """With masks the gallery holds fewer than its size: -1 fills up what is missing."""
    rng = np.random.default_rng(1)
    embeddings, present = samples.embeddings(rng, GALLERY, DIM), samples.masks(rng, GALLERY)
    for m, x in embeddings.items():
        x[10], present[m][10] = x[6], present[m][6]
    chosen = np.array([2, 0, 4, 1, 12])
    arguments = samples.as_jax(embeddings), samples.as_jax(present), jnp.asarray(chosen)
    values, numbers = found_top(name, *arguments, k)
    assert values.shape == numbers.shape == (QUERIES, k)
    scores = np.round(score_matrix(name, embeddings, present), 6)[chosen]
    rows, cols = valid(name, embeddings, present)
    scores = np.where(rows[chosen, None] & cols, scores, -np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    exact = np.take_along_axis(scores, best, axis=1)
    np.testing.assert_allclose(values, exact, atol=2e-5)
    np.testing.assert_array_equal(numbers, np.where(np.isfinite(exact), best, -1))


def test_one_query_in_a_gallery_of_one():
    embeddings = samples.embeddings(np.random.default_rng(0), 1, DIM)
    everyone = {m: jnp.ones(1, bool) for m in embeddings}
    arguments = samples.as_jax(embeddings), everyone, jnp.array([0])
    values, numbers = found_top("cosine of two", *arguments, 1)
    assert values.shape == (1, 1) and numbers.tolist() == [[0]]


def test_none_of_the_own_group_is_found():
    embeddings = samples.embeddings(np.random.default_rng(2), GALLERY, DIM)
    score = SCORES["cosine of two"]
    rows, cols = score.rows(embeddings), score.cols(embeddings)
    groups = np.arange(GALLERY) % 3 - 1  # -1, which no padding may share

    @jax.jit
    def found(rows, cols, groups):
        return top_k(score, rows, cols, 10, groups=(groups, groups), engine=Engine(tile=TILE))

    values, numbers = found(rows, cols, jnp.asarray(groups))
    scores = np.asarray(score.tile(rows.factors, cols.factors))
    scores = np.where(groups[:, None] == groups, -np.inf, scores)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    exact = np.take_along_axis(scores, best, axis=1)
    np.testing.assert_allclose(values, exact, atol=2e-5)
    np.testing.assert_array_equal(numbers, np.where(np.isfinite(exact), best, -1))


def test_a_group_for_every_one_of_both_sides():
    rows, cols = Side(jnp.ones((2, 6)), jnp.ones(2, bool)), Side(jnp.arange(6), jnp.ones(6, bool))
    with pytest.raises(ValueError, match=r"groups must be an array of integers \(6,\)"):
        top_k(Given(), rows, cols, 1, groups=(jnp.zeros(2, int), jnp.zeros(5, int)))


class Given:
    """A score matrix as it is: rows bring theirs, columns their numbers."""

    def tile(self, rows, cols):
        return rows[:, cols]


def test_zeros_of_either_sign_are_equal_and_what_is_no_number_is_not_found():
    scores = jnp.array([[-0.0, 0.0, jnp.nan, 0.0, -1.0, -0.0], [jnp.nan] * 6])
    rows = Side(scores, jnp.ones(2, bool))
    cols = Side(jnp.arange(6), jnp.ones(6, bool))
    for tile in (4, 6):
        values, numbers = top_k(Given(), rows, cols, 5, engine=Engine(tile=tile))
        assert numbers.tolist() == [[0, 1, 3, 5, 4], [-1] * 5]
        assert values.tolist() == [[0, 0, 0, 0, -1], [-jnp.inf] * 5]

"""Ranks against a dense count: ties, duplicates, groups, masks and NaN count against the query."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, ranks
from tests import reference, samples
from tests.every_score import MAIN, SCORES, score_matrix, valid

BATCH, DIM, TILE = 13, 6, 4


@partial(jax.jit, static_argnums=0)
def found_ranks(name, embeddings, present, groups):
    score = SCORES[name]
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    return ranks(score, rows, cols, groups=groups, engine=Engine(tile=TILE))


@cache
def batch(kind):
    """Embeddings, masks and groups; three examples are there twice, one of them three times."""
    rng = np.random.default_rng(3)
    embeddings = samples.embeddings(rng, BATCH, DIM)
    for x in embeddings.values():
        x[[12, 4, 9, 1]] = x[[0, 3, 8, 8]]
    present = samples.masks(rng, BATCH) if "masked" in kind else None
    everyone = {m: np.ones(BATCH, bool) for m in embeddings}
    groups = rng.integers(0, 5, BATCH) if "grouped" in kind else np.arange(BATCH)
    return embeddings, present or everyone, groups.astype(np.int32)


@pytest.mark.parametrize("kind", ["plain", "masked", "grouped", "masked and grouped"])
@pytest.mark.parametrize("name", MAIN)
def test_both_directions_against_a_dense_count(name, kind):
    embeddings, present, groups = batch(kind)
    found = found_ranks(name, *jax.tree.map(jnp.asarray, batch(kind)))
    scores = np.round(score_matrix(name, embeddings, present), 9)  # equal tuples, equal scores
    rows, cols = valid(name, embeddings, present)
    np.testing.assert_array_equal(found[0], reference.ranks(scores, rows, cols, groups))
    np.testing.assert_array_equal(found[1], reference.ranks(scores.T, cols, rows, groups))


@pytest.mark.parametrize("name", MAIN)
def test_a_duplicate_counts_against_the_query(name):
    for direction in found_ranks(name, *jax.tree.map(jnp.asarray, batch("plain"))):
        assert np.all(np.asarray(direction)[[0, 12, 3, 4]] >= 1)
        assert np.all(np.asarray(direction)[[1, 8, 9]] >= 2)


@pytest.mark.parametrize("name", MAIN)
def test_a_space_collapsed_to_a_point_ranks_last(name):
    embeddings, present, groups = jax.tree.map(jnp.asarray, batch("plain"))
    collapsed = {m: jnp.broadcast_to(embeddings["a"][0], x.shape) for m, x in embeddings.items()}
    for direction in found_ranks(name, collapsed, present, groups):
        np.testing.assert_array_equal(direction, BATCH - 1)


@pytest.mark.parametrize("name", MAIN)
def test_not_a_number_is_no_success(name):
    embeddings, present, groups = jax.tree.map(jnp.asarray, batch("plain"))
    broken = embeddings | {"b": embeddings["b"].at[5].set(jnp.nan)}
    for direction in found_ranks(name, broken, present, groups):
        assert direction[5] == BATCH - 1
    everywhere = {m: jnp.full_like(x, jnp.nan) for m, x in embeddings.items()}
    for direction in found_ranks(name, everywhere, present, groups):
        np.testing.assert_array_equal(direction, BATCH - 1)


def test_duplicates_tie_at_every_place_of_a_large_matrix():
    """Equal columns at different places of a tile must be rounded alike."""
    rng = np.random.default_rng(0)
    number, score = 302, SCORES["volume"]
    half = samples.embeddings(rng, number // 2, 33, noise=0.1)
    order = rng.permutation(number)
    twice = {m: jnp.asarray(np.concatenate([x, x])[order]) for m, x in half.items()}

    @jax.jit
    def call(embeddings):
        return ranks(score, score.rows(embeddings), score.cols(embeddings), engine=Engine(tile=101))

    for direction in call(twice):
        assert np.all(np.asarray(direction) >= 1)


def test_tiles_have_kernels_of_their_own_even_where_nothing_is_absent():
    """Both those of the matches and those of all pairs: in a branch, which XLA does not inline."""
    score = SCORES["volume"]

    def both_ways(embeddings):
        rows, cols = score.rows(embeddings), score.cols(embeddings)
        return ranks(score, rows, cols, engine=Engine(tile=TILE))

    shapes = {m: jax.ShapeDtypeStruct((4 * TILE, DIM), jnp.float32) for m in "abc"}
    program = jax.jit(both_ways).lower(shapes).compile().as_text()
    assert program.count(" conditional(") == 2

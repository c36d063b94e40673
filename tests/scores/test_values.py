"""Tiles and matched scores of every Score against dense float64, with and without masks."""

from functools import cache, partial

import jax
import numpy as np
import pytest

from tests import reference, samples
from tests.every_score import MAIN, SCORES, both, score_matrix, valid

BATCH, DIM = 7, 16
# Of modalities, and the Scores to try: what others make of a Score is the same of any number.
NUMBERS = {2: tuple(MAIN), 3: tuple(SCORES), 5: tuple(MAIN)}


@partial(jax.jit, static_argnums=0)
def everything(names, embeddings, present):
    def one(score):
        rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
        tile = score.tile(rows.factors, cols.factors)
        return tile, score.matched(embeddings, present), rows.valid, cols.valid

    return {name: one(SCORES[name]) for name in names}


@cache
def measured(k, masked):
    """Embeddings and masks in numpy, and what the Scores make of them."""
    rng = np.random.default_rng(k)
    embeddings = samples.embeddings(rng, BATCH, DIM, "abcdef"[:k])
    present = {name: np.ones(BATCH, bool) for name in embeddings}
    if masked:
        present = samples.masks(rng, BATCH, embeddings)
        for name, x in embeddings.items():
            embeddings[name] = np.where(present[name][:, None], x, np.float32(np.nan))
    found = everything(NUMBERS[k], samples.as_jax(embeddings), samples.as_jax(present))
    return embeddings, present, found


@pytest.mark.parametrize(("name", "k"), [(name, k) for k in NUMBERS for name in NUMBERS[k]])
@pytest.mark.parametrize("masked", [False, True], ids=["all present", "masked"])
def test_tile_and_matched(name, k, masked):
    embeddings, present, found = measured(k, masked)
    tile, matched, row_valid, col_valid = (np.asarray(x) for x in found[name])
    exact = score_matrix(name, embeddings, present)
    rows, cols = valid(name, embeddings, present)
    np.testing.assert_array_equal(row_valid, rows)
    np.testing.assert_array_equal(col_valid, cols)
    np.testing.assert_allclose(tile[np.ix_(rows, cols)], exact[np.ix_(rows, cols)], atol=2e-5)
    np.testing.assert_allclose(matched[rows & cols], np.diag(exact)[rows & cols], atol=2e-6)
    # What takes no part must not be NaN either: zero times NaN is NaN in a gradient.
    assert np.isfinite(tile).all() and np.isfinite(matched).all()


@pytest.mark.parametrize("name", MAIN)
@pytest.mark.parametrize("masked", [False, True], ids=["all present", "masked"])
def test_numpy_arrays_are_taken_too(name, masked):
    embeddings, present, found = measured(2, masked)
    present = present if masked else {}
    score = SCORES[name]
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves((rows, cols)))
    tile, matched = score.tile(rows.factors, cols.factors), score.matched(embeddings, present)
    np.testing.assert_allclose(tile, found[name][0], atol=1e-6)
    np.testing.assert_allclose(matched, found[name][1], atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_not_a_number_is_not_overlooked(name):
    """One vector that is broken breaks all scores of its tuple, and none of the others."""
    embeddings, present, _ = measured(3, False)
    broken = embeddings | {"b": embeddings["b"].copy()}
    broken["b"][4, 2] = np.nan
    found = everything(NUMBERS[3], samples.as_jax(broken), samples.as_jax(present))
    tile, matched, _, _ = map(np.asarray, found[name])
    with_it = np.arange(BATCH) == 4
    np.testing.assert_array_equal(np.isnan(matched), with_it)
    assert np.isnan(tile[:, with_it]).all()
    assert np.isfinite(tile[np.ix_(~with_it, ~with_it)]).all()


def test_the_masks_of_these_tests_leave_all_kinds_of_tuples():
    for k in NUMBERS:
        embeddings, present, _ = measured(k, True)
        number = np.sum(list(present.values()), axis=0)
        assert {0, 1} <= set(number.tolist()) and number.max() >= 2
        assert (reference.tuples(embeddings, present)[1] == number).all()


@pytest.mark.parametrize("name", SCORES)
def test_half_precision_embeddings_give_float32_scores(name):
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), 4, 8))
    half = {other: x.astype("bfloat16") for other, x in embeddings.items()}
    tile, matched = jax.eval_shape(partial(both, SCORES[name]), half)
    assert tile.dtype == matched.dtype == np.float32


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_values(name):
    """Equal and hashable, so that one can be a static argument without compiling again."""
    score = SCORES[name]
    twin = type(score)(**vars(score))
    assert twin == score and hash(twin) == hash(score)

"""The dual softmax against the formula, in the precision of what it is of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from gramalign.contrast import Engine, dual_softmax
from gramalign.scores import Side
from tests import samples
from tests.every_score import SCORES, score_matrix

BATCH, TEMPERATURE = 7, 0.1


def test_a_temperature_is_positive():
    side = Side(jnp.eye(2), jnp.ones(2, bool))
    for temperature in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="temperature must be positive, got"):
            dual_softmax(SCORES["cosine of two"], side, side, temperature)


@pytest.mark.parametrize("name", ["cosine of two", "volume", "spectral"])
def test_tiles_are_those_of_the_formula(name, x64):
    embeddings = samples.embeddings(np.random.default_rng(0), BATCH, 5, dtype=np.float64)
    present = {m: np.ones(BATCH, bool) for m in embeddings}
    score, given = SCORES[name], samples.as_jax(embeddings)

    @jax.jit
    def tile(given):
        sides = score.rows(given), score.cols(given)
        dual, rows, cols = dual_softmax(score, *sides, TEMPERATURE, engine=Engine(tile=3))
        return dual.tile(rows.factors, cols.factors)

    logits = score_matrix(name, embeddings, present) / TEMPERATURE
    expected = log_softmax(logits, axis=1) + log_softmax(logits, axis=0)
    found = tile(given)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_tiles_are_finite_where_an_example_is_not_valid():
    """As those of any Score."""
    side = Side(jnp.eye(3), jnp.array([True, False, True]))
    dual, rows, cols = dual_softmax(SCORES["cosine of two"], side, side, TEMPERATURE)
    assert jnp.isfinite(dual.tile(rows.factors, cols.factors)).all()

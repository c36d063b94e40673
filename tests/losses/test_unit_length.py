"""Rows that are not of unit length, where a loss is of unit rows: an error before any work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.scores import CosineScore
from gramalign.scores.sides import check_unit
from tests import samples
from tests.every_loss import EVERY

BATCH = 4
X = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, 6))
HAVE = {m: jnp.arange(BATCH) < 3 for m in "abc"}
ANY_LENGTH = {"hypergram", "kernel volume", "alignment", "distance", "modality gap"}
ANY_LENGTH |= {"supcon of volumes", "clip of volumes", "siglip of volumes"}
OF_UNIT_ROWS = [name for name in EVERY if name not in ANY_LENGTH | {"confu"}]


def with_row(number, row):
    """In modality b."""
    return X | {"b": X["b"].at[number].set(row)}


@pytest.mark.parametrize("name", OF_UNIT_ROWS)
def test_losses_of_unit_rows(name):
    settings = {"temperature": 0.1} if name in ("pmrl", "calmrl") else {}
    settings |= {"groups": jnp.arange(BATCH)} if name == "supcon" else {}
    loss, long = EVERY[name], with_row(1, 2 * X["b"][1])
    message = r"embeddings\['b'\] must hold rows of length 1, got lengths from 2 to 2: apply gramal"
    with pytest.raises(ValueError, match=message):
        loss(long, **settings)
    jax.eval_shape(lambda x: loss(x, **settings), long)


@pytest.mark.parametrize("score_of", ["cosine", "aggregate", CosineScore])
def test_cosines_by_name(score_of):
    with pytest.raises(ValueError, match=r"embeddings\['b'\] must hold rows of length 1"):
        losses.clip(with_row(1, 2 * X["b"][1]), anchor="a", score_of=score_of)


def test_vicreg_of_rows_whose_deviation_is_given():
    long = with_row(1, 2 * X["b"][1])
    assert jnp.isfinite(losses.vicreg(long, deviation=1.0)).all()


def test_fused_embeddings():
    fused = {name: X[m] + X[n] for name, (m, n) in losses.fused_pairs(X).items()}
    with pytest.raises(ValueError, match=r"embeddings\['a\+b'\] must hold rows of length 1"):
        losses.confu(X | fused)


@pytest.mark.parametrize("length", [0.98, 1.02])
def test_a_length_that_is_wrong_by_more_than_rounding(length):
    with pytest.raises(ValueError, match=f"got lengths from {length} to {length}: apply"):
        check_unit(with_row(0, length * X["b"][0]), HAVE)


def test_the_lengths_that_are_wrong():
    rows = jnp.array([0.0, 0.5, 1.0, 3.0])[:, None] * X["c"]
    with pytest.raises(
        ValueError, match=r"'c'\].* got lengths from 0.5 to 3: apply gramalign.norm"
    ):
        check_unit(X | {"c": rows}, None)


@pytest.mark.parametrize("row", [np.zeros(6), np.full(6, np.nan), 1.009 * X["b"][0]])
def test_zero_and_nan_and_rounding_are_let_through(row):
    check_unit(with_row(0, row), HAVE)
    check_unit({m: x.astype(jnp.bfloat16) for m, x in X.items()}, None)


def test_an_absent_row_may_hold_anything():
    check_unit(with_row(3, 7.0), HAVE)
    check_unit(with_row(3, jnp.inf), HAVE)
    with pytest.raises(ValueError, match="got lengths from inf to inf"):
        check_unit(with_row(2, jnp.inf), HAVE)


def test_what_is_traced_is_let_through():
    long = with_row(1, 7.0)

    @jax.jit
    def traced(x):
        check_unit(x, None)
        check_unit(x, HAVE)
        check_unit(long, HAVE)  # constants, but their lengths would be computed when this runs
        return x["b"]

    np.testing.assert_array_equal(traced(long), long["b"])
    assert "sqrt" not in traced.lower(long).compile().as_text()

"""Memory of the compiled loss and gradient grows with the batch, not with its square."""

import jax
import jax.numpy as jnp
import pytest

from gramalign.contrast import contrast
from tests.every_score import SCORES

DIM = 64


def temporary_bytes(function, *shapes):
    """What value and gradient need besides arguments and results; nothing is run."""
    lowered = jax.jit(jax.value_and_grad(function)).lower(*shapes)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def embeddings(size):
    return dict.fromkeys("abc", jax.ShapeDtypeStruct((size, DIM), jnp.float32))


def of_the_loss(score, size):
    def mean(x):
        return contrast(score, score.rows(x), score.cols(x), score.matched(x), scale=10.0).mean()

    return temporary_bytes(mean, embeddings(size))


def of_the_engine(score, size):
    """Without what leads from embeddings to factors, which compiles slowly and knows no pairs."""
    rows, cols = (
        jax.eval_shape(score.rows, embeddings(size)),
        jax.eval_shape(score.cols, embeddings(size)),
    )

    def mean(factors, valid, matched):
        rows, cols = (type(side)(f, v) for side, f, v in zip(sides, factors, valid, strict=True))
        return contrast(score, rows, cols, matched, scale=10.0).mean()

    sides = rows, cols
    matched = jax.ShapeDtypeStruct((size,), jnp.float32)
    factors, valid = (rows.factors, cols.factors), (rows.valid, cols.valid)
    return temporary_bytes(mean, factors, valid, matched)


def test_the_whole_loss():
    assert of_the_loss(SCORES["volume"], 32768) < 4 * 32768**2 / 16, "a sixteenth of the matrix"


@pytest.mark.parametrize("name", [name for name in SCORES if name != "direction squared"])
def test_the_engine_with_every_score(name):
    found = [of_the_engine(SCORES[name], size) for size in (8192, 16384, 32768)]
    assert found[1] / found[0] <= 2.2 and found[2] / found[1] <= 2.2, found
    assert found[2] < 4 * 32768**2 / 8, "less than an eighth of one score matrix"

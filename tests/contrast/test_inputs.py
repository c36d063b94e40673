"""Messages of the engine and of retrieval, as users meet them: without run-time type checks."""

import re
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine, contrast, ranks, score_matrix, sigmoid_contrast, top_k
from gramalign.scores import CosineScore, Side

SCORE = CosineScore("a", "b")


pytestmark = pytest.mark.usefixtures("unchecked")


def side(size):
    return Side(jnp.ones((size, 3)), jnp.ones(size, bool))


def loss(rows, cols, **options):
    return contrast(SCORE, rows, cols, jnp.ones(4), **{"scale": 1.0, **options})


def sigmoid(rows, cols, **options):
    return sigmoid_contrast(
        SCORE, rows, cols, jnp.ones(4), **{"scale": 1.0, "bias": 0.0, **options}
    )


@pytest.mark.parametrize("function", [loss, sigmoid, lambda *x, **y: ranks(SCORE, *x, **y)])
@pytest.mark.parametrize(
    ("rows", "cols", "options", "message"),
    [
        (side(4), side(5), {}, "row i is matched with column i, got 4 and 5"),
        (side(0), side(4), {}, "rows must hold at least one example: the batch is empty"),
        (
            side(4),
            Side(jnp.ones((3, 3)), jnp.ones(4, bool)),
            {},
            r"cols must have factors .* of 4 examples, got shapes \[\(3, 3\)\]",
        ),
        (side(4), Side(jnp.ones((4, 3)), jnp.ones(4)), {}, "cols.valid must be bool of shape"),
        (side(4), Side(jnp.ones(()), jnp.ones(4, bool)), {}, r"got shapes \[\(\)\]"),
        (side(4), side(4), {"groups": jnp.ones(4)}, r"groups must be an array of integers \(4,\)"),
        (side(4), side(4), {"groups": jnp.ones(3, int)}, r"got int32 of shape \(3,\)"),
        (side(4), side(4), {"groups": [1, 2, 3, 4]}, r"got list of shape \(4,\)"),
        (
            side(4),
            side(4),
            {"groups": np.array(["cat", "dog", "cat", "owl"])},
            r"got <U3 of shape \(4,\): number them with groups = np.unique\(groups, return_inv",
        ),
        (side(4), side(4), {"groups": 1}, r"got int of shape \(\)"),
        (side(4), side(4), {"axis_name": ()}, r"one mesh axis or several, each once, got \(\)"),
        (side(4), side(4), {"axis_name": ("x", "x")}, r"each once, got \('x', 'x'\)"),
    ],
)
def test_sides_and_groups(function, rows, cols, options, message):
    with pytest.raises(ValueError, match=message):
        function(rows, cols, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile must be a whole number of at least 1, got 0"),
        ({"tile": 2.5}, "tile must be a whole number of at least 1, got 2.5"),
        ({"tile": True}, "tile must be a whole number of at least 1, got True"),
        ({"precision": "float16"}, "precision must be \"bfloat16\" or None, got 'float16'"),
        ({"strategy": "star"}, 'strategy must be "gather", "ring" or None, got \'star\''),
    ],
)
def test_engine(options, message):
    with pytest.raises(ValueError, match=message):
        Engine(**options)


@pytest.mark.parametrize("function", [loss, sigmoid])
def test_a_scale_for_each_example(function):
    with pytest.raises(ValueError, match=r"must be one number, got shape \(4,\)"):
        function(side(4), side(4), scale=jnp.ones(4))


def test_a_bias_for_each_example():
    with pytest.raises(ValueError, match=r"bias must be one number, got shape \(4,\)"):
        sigmoid(side(4), side(4), bias=jnp.ones(4))


@pytest.mark.parametrize("smoothing", [-0.1, 1, 1.5])
def test_label_smoothing(smoothing):
    with pytest.raises(ValueError, match=rf"label_smoothing must be in \[0, 1\), got {smoothing}"):
        loss(side(4), side(4), label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({}, "no groups, label_smoothing=0.0"),
        ({"groups": jnp.arange(4), "label_smoothing": 0.1}, r"some groups, label_smoothing=0.1"),
    ],
)
def test_supervision_has_a_target_of_its_own(options, got):
    with pytest.raises(ValueError, match=f"supervised needs groups and no label_smoothing.*{got}"):
        loss(side(4), side(4), supervised=True, **options)


@pytest.mark.parametrize("k", [0, 6, 2.0])
def test_number_of_neighbours(k):
    with pytest.raises(ValueError, match=f"k must be a whole number from 1 .* size 5, got {k}"):
        top_k(SCORE, side(4), side(5), k)


def test_empty_gallery():
    with pytest.raises(ValueError, match="cols must hold at least one example"):
        top_k(SCORE, side(4), side(0), 1)


@pytest.mark.parametrize("function", [contrast, partial(sigmoid_contrast, bias=0.0)])
@pytest.mark.parametrize("shape", [(), (4, 1), (5,)])
def test_matched_scores(function, shape):
    with pytest.raises(ValueError, match=rf"shape \(4,\), got shape {re.escape(str(shape))}"):
        function(SCORE, side(4), side(4), jnp.ones(shape), scale=1.0)


@dataclass(frozen=True)
class OneRow:
    """A Score that forgets that there are rows."""

    def tile(self, rows, cols):
        return jnp.sum(cols, axis=1)[None]


@pytest.mark.parametrize(
    "function",
    [
        lambda score, *sides: contrast(score, *sides, jnp.ones(4), scale=1.0),
        lambda score, *sides: sigmoid_contrast(score, *sides, jnp.ones(4), scale=1.0, bias=0.0),
        ranks,
        partial(top_k, k=1),
        score_matrix,
    ],
)
def test_a_tile_of_another_shape(function):
    with pytest.raises(ValueError, match=r"shape \(4, 4\) .*, got shape \(1, 4\)"):
        function(OneRow(), side(4), side(4))


def test_what_is_no_side():
    with pytest.raises(
        TypeError, match=r"cols must be a Side, as score.cols\(embeddings\) returns"
    ):
        loss(side(4), jnp.ones((4, 3)))

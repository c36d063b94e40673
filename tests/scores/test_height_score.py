"""What is special to the height: the volume without what the others alone decide."""

import jax
import numpy as np
import pytest

from gramalign.programs.flops import matmul_flops
from gramalign.scores import HeightScore, VolumeScore
from tests import samples
from tests.every_score import both

BATCH, DIM = 8, 16
HEIGHT, VOLUME = HeightScore("a"), VolumeScore("a")


def tuples(k):
    vectors = samples.unit(np.random.default_rng(k), k, BATCH, DIM, dtype=np.float32)
    return dict(zip("abcd"[:k], vectors, strict=True))


def scores(score, embeddings):
    return [np.asarray(x) for x in both(score, samples.as_jax(embeddings))]


def test_of_two_it_is_the_volume():
    for found, expected in zip(scores(HEIGHT, tuples(2)), scores(VOLUME, tuples(2)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_it_ranks_the_anchors_of_a_tuple_as_the_volume_does():
    (heights, _), (volumes, _) = scores(HEIGHT, tuples(4)), scores(VOLUME, tuples(4))
    np.testing.assert_array_equal(np.argsort(heights, axis=0), np.argsort(volumes, axis=0))
    assert np.any(np.argsort(heights, axis=1) != np.argsort(volumes, axis=1))


@pytest.mark.parametrize("closeness", [1e-1, 1e-3])
def test_how_well_the_others_agree_does_not_count(closeness):
    """Others drawn together within their span: a small volume, the same height."""
    x = tuples(3)
    closer = x | {"c": (1 - closeness) * x["b"] + closeness * x["c"]}
    for found, expected in zip(scores(HEIGHT, closer), scores(HEIGHT, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6 / closeness)
    shrunk = scores(VOLUME, closer)[0] / scores(VOLUME, x)[0]
    assert np.all(shrunk < 1.5 * closeness)


def test_signs_are_not_seen():
    x = tuples(3)
    for name in x:
        flipped = scores(HEIGHT, x | {name: -x[name]})
        for found, expected in zip(flipped, scores(HEIGHT, x), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_tile_takes_a_product_for_each_of_the_others():
    x = samples.as_jax(tuples(4))
    factors = [jax.eval_shape(side, x).factors for side in (HEIGHT.rows, HEIGHT.cols)]
    assert matmul_flops(HEIGHT.tile, *factors) == 3 * 2 * BATCH * BATCH * DIM

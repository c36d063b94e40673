"""What is special to the volume: accuracy of matched tuples, blind spots, the noise floor."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.scores import VolumeScore
from tests import reference, samples

SCORE = VolumeScore("a")


@jax.jit
def both(embeddings):
    tile = SCORE.tile(SCORE.rows(embeddings).factors, SCORE.cols(embeddings).factors)
    return tile, SCORE.matched(embeddings)


def scores(embeddings):
    tile, matched = both({name: jnp.asarray(x, jnp.float32) for name, x in embeddings.items()})
    return np.asarray(tile), np.asarray(matched)


def by_name(tuples):
    """[batch, 3, dim] as embeddings."""
    return {name: tuples[:, i] for i, name in enumerate("abc")}


def test_matched_scores_have_digits_that_tiles_have_lost():
    tuples = samples.close(np.random.default_rng(0), 8, 3, 32, 1e-4, np.float32)
    tile, matched = scores(by_name(tuples))
    np.testing.assert_allclose(matched, -reference.volume(tuples), rtol=1e-5)
    assert np.max(np.abs(np.diag(tile) / reference.volume(tuples) + 1)) > 0.1


def test_two_equal_others_fit_every_anchor():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tuples[:, 2] = tuples[:, 1]
    for found in scores(by_name(tuples)):
        np.testing.assert_array_equal(found, 0)


def test_signs_do_not_matter():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tile, matched = scores(by_name(tuples))
    for flip in ([-1, 1, 1], [1, -1, 1], [-1, 1, -1]):
        flipped = scores(by_name(tuples * np.array(flip)[:, None]))
        np.testing.assert_allclose(flipped[0], tile, atol=1e-6)
        np.testing.assert_allclose(flipped[1], matched, atol=1e-6)


def test_an_anchor_in_the_span_of_the_others_is_at_distance_zero():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tuples[:, 0] = samples.normalized(tuples[:, 1] - 0.5 * tuples[:, 2])
    tile, matched = scores(by_name(tuples))
    np.testing.assert_array_equal(matched, 0)
    # A root of noise is a thousandfold noise; what is below the noise has to be 0.
    np.testing.assert_allclose(np.diag(tile), 0, atol=2e-3)
    assert np.mean(np.diag(tile) == 0) >= 0.5

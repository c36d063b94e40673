"""What is special to the volume: accuracy of matched tuples, blind spots, its forms."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import VolumeScore
from gramalign.scores.volume import LOG_FLOOR, Form
from tests import reference, samples
from tests.every_score import both, tile_of

SCORE = VolumeScore("a")


def scores(embeddings):
    narrow = {name: jnp.asarray(x, jnp.float32) for name, x in embeddings.items()}
    return [np.asarray(x) for x in both(SCORE, narrow)]


def test_matched_scores_have_digits_that_tiles_have_lost():
    tuples = samples.close(np.random.default_rng(0), 8, 3, 32, 1e-4, np.float32)
    tile, matched = scores(samples.by_name(tuples))
    np.testing.assert_allclose(matched, -reference.volume(tuples), rtol=1e-5)
    assert np.max(np.abs(np.diag(tile) / reference.volume(tuples) + 1)) > 0.1


def test_two_equal_others_fit_every_anchor():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tuples[:, 2] = tuples[:, 1]
    for found in scores(samples.by_name(tuples)):
        np.testing.assert_array_equal(found, 0)


def test_signs_do_not_matter():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tile, matched = scores(samples.by_name(tuples))
    for flip in ([-1, 1, 1], [1, -1, 1], [-1, 1, -1]):
        flipped = scores(samples.by_name(tuples * np.array(flip)[:, None]))
        np.testing.assert_allclose(flipped[0], tile, atol=1e-6)
        np.testing.assert_allclose(flipped[1], matched, atol=1e-6)


def test_an_anchor_in_the_span_of_the_others_is_at_distance_zero():
    tuples = samples.unit(np.random.default_rng(0), 8, 3, 32)
    tuples[:, 0] = samples.normalized(tuples[:, 1] - 0.5 * tuples[:, 2])
    tile, matched = scores(samples.by_name(tuples))
    np.testing.assert_array_equal(matched, 0)
    # A root of noise is a thousandfold noise; what is below the noise has to be 0.
    np.testing.assert_allclose(np.diag(tile), 0, atol=2e-3)
    assert np.mean(np.diag(tile) == 0) >= 0.5


FORMS = {form: VolumeScore("a", form) for form in get_args(Form)}


@jax.jit
def every_form(embeddings, present):
    return {form: both(score, embeddings, present) for form, score in FORMS.items()}


def test_of_two_it_is_the_sine():
    x = dict(zip("ab", samples.unit(np.random.default_rng(0), 2, 8, 32), strict=True))
    sine = np.sqrt(1 - (x["a"] @ x["b"].T) ** 2)
    tile, matched = scores(x)
    np.testing.assert_allclose(tile, -sine, atol=1e-6)
    np.testing.assert_allclose(matched, -np.diag(sine), rtol=1e-6)


def test_forms_of_one_volume():
    """The root is that of as many as there are: the anchor, and the others that are present."""
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 32))
    have = {"b": np.arange(8) != 2, "c": np.arange(8) < 5}
    number = 1 + sum(mask.astype(int) for mask in have.values())
    found = jax.tree.map(np.asarray, every_form(x, samples.as_jax(have)))
    for i, n in ((0, number[None, :]), (1, number)):
        size = -found["volume"][i]
        np.testing.assert_allclose(-found["squared"][i], size**2, rtol=1e-6)
        np.testing.assert_allclose(-found["root"][i], size ** (1 / n), rtol=1e-6)
        np.testing.assert_allclose(-found["log"][i], np.log(size**2 + LOG_FLOOR) / 2, atol=1e-6)
    assert set(number.tolist()) == {2, 3}


@jax.jit
def slopes(tuples):
    """Of the matched scores in every form, by the vectors."""

    def of(score):
        return jax.value_and_grad(lambda x: score.matched(samples.by_name(x)).sum())(tuples)

    return {form: of(score) for form, score in FORMS.items()}


def test_forms_of_no_volume():
    """Values are finite, derivatives 0 by convention (that of the square, by right)."""
    tuples = samples.unit(np.random.default_rng(0), 4, 3, 32, dtype=np.float32)
    tuples[:, 2] = tuples[:, 1]
    for form, (value, slope) in slopes(jnp.asarray(tuples)).items():
        exact = -4 * np.log(LOG_FLOOR) / 2 if form == "log" else 0
        np.testing.assert_allclose(value, exact, rtol=1e-6)
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3])
def test_slopes_of_small_volumes(distance):
    """In float32, of volumes from 1e-2 to 1e-6; the logarithm's floor is at 1e-3."""
    tuples = samples.close(np.random.default_rng(0), 4, 3, 32, distance, np.float32)
    size = reference.volume(tuples)[:, None, None]
    factors = {
        "volume": 1,
        "squared": 2 * size,
        "log": size / (size**2 + LOG_FLOOR),
        "root": size ** (1 / 3 - 1) / 3,
    }
    found = slopes(jnp.asarray(tuples))
    for form, factor in factors.items():
        exact = -factor * reference.volume_gradient(tuples)
        errors = np.linalg.norm(found[form][1] - exact, axis=-1)
        assert np.all(errors <= 1e-4 * np.linalg.norm(exact, axis=-1)), form


def test_what_is_no_form(unchecked):
    message = "form must be one of volume, squared, log, root, got 'cube'"
    with pytest.raises(ValueError, match=message):
        VolumeScore("a", "cube")


def test_a_logarithm_makes_no_leap_at_the_noise_floor():
    """Two mismatched anchors, one just above the floor and one on it, score nearly alike."""
    score = VolumeScore("a", "log")
    axes = np.eye(3, dtype=np.float32)
    anchors = np.stack([axes[0], samples.normalized(axes[0] + 1e-3 * axes[2])])
    x = {"a": anchors, "b": axes[:1].repeat(2, 0), "c": axes[1:2].repeat(2, 0)}
    x = {name: jnp.asarray(rows, jnp.float32) for name, rows in x.items()}
    on_it, above = np.asarray(tile_of(score, x))[:, 0]
    assert 6.5 < above < on_it < 7.5

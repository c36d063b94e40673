"""What is special to BaryBind: it is GRAM, and with the centroid matched volumes are 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.scores import VolumeScore
from tests import reference, samples

BATCH = 8
barybind = jax.jit(losses.barybind)
slope = jax.jit(jax.value_and_grad(lambda x, have: losses.barybind(x, present=have).sum()))


def embeddings_of(names, **options):
    return samples.embeddings(np.random.default_rng(len(names)), BATCH, 16, names, **options)


def with_centroid(embeddings):
    return embeddings | {"c0": reference.centroid(embeddings, None)}


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_differences_to_the_barycentre_span_the_same_volume(k):
    """det of the Gram matrices of (b, b - m_1, .., b - m_k) and of (b, m_1, .., m_k)."""
    vectors = samples.unit(np.random.default_rng(k), 16, k + 1, 16)
    sheared = np.concatenate([vectors[:, :1], vectors[:, :1] - vectors[:, 1:]], axis=1)
    determinants = [np.linalg.det(x @ x.transpose(0, 2, 1)) for x in (sheared, vectors)]
    np.testing.assert_allclose(*determinants, rtol=1e-10)
    np.testing.assert_allclose(reference.volume(sheared), reference.volume(vectors), rtol=1e-12)


def test_it_is_gram_with_the_barycentre_for_an_anchor():
    """Whatever that is called."""
    x = embeddings_of("ab")
    x = samples.as_jax({"a": x["a"], "centroid": x["b"]})
    have = {"a": jnp.arange(BATCH) < 5}
    settings = dict(temperature=0.2, label_smoothing=0.0, present=have)
    found = losses.barybind(x, barycentre="centroid", **settings)
    np.testing.assert_array_equal(found, losses.gram(x, anchor="centroid", **settings))


def test_with_the_centroid_it_is_gram_with_that(x64):
    x = embeddings_of("ab", dtype=np.float64)
    exact = losses.gram(samples.as_jax(with_centroid(x)), anchor="c0")
    np.testing.assert_allclose(barybind(samples.as_jax(x)), exact, atol=1e-10)


matched = jax.jit(jax.value_and_grad(lambda x: VolumeScore("c0").matched(x).sum()))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("noise", [1.0, 10.0])
def test_every_tuple_fits_its_own_centroid(k, noise, x64):
    """The blind spot: however far apart the modalities are, matched volumes are 0."""
    x = samples.as_jax(with_centroid(embeddings_of("abcd"[:k], noise=noise, dtype=np.float64)))
    volumes, gradient = matched(x)
    assert volumes == 0
    for rows in gradient.values():
        np.testing.assert_array_equal(rows, 0)


def test_with_the_centroid_one_example_alone_learns_nothing():
    """There is nothing to drive apart: loss and gradient of a batch of one are 0."""
    x = samples.as_jax(embeddings_of("ab"))
    have = dict.fromkeys(x, jnp.arange(BATCH) == 3)
    value, gradient = slope(x, have)
    assert value == 0
    for rows in gradient.values():
        np.testing.assert_array_equal(rows, 0)


def test_half_precision_embeddings_still_hold_their_centroid():
    half = {name: x.astype(jnp.bfloat16) for name, x in samples.as_jax(embeddings_of("ab")).items()}
    wide = {name: x.astype(jnp.float32) for name, x in half.items()}
    np.testing.assert_array_equal(barybind(half), barybind(wide))


def test_modalities_that_sum_to_zero():
    x = embeddings_of("ab")
    x["b"] = -x["a"]
    _, gradient = slope(samples.as_jax(x), dict.fromkeys(x, jnp.ones(BATCH, bool)))
    assert all(np.isfinite(rows).all() for rows in gradient.values())


def test_a_modality_by_the_name_of_the_centroid(unchecked):
    x = samples.as_jax(embeddings_of("ab"))
    x["centroid"] = x["a"]
    with pytest.raises(ValueError, match=r"entry 'centroid', .* or give barycentre='centroid'"):
        losses.barybind(x)

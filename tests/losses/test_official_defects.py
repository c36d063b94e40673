"""Where the published code is defective, what it does, and what is done here instead."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign import losses
from tests import reference, samples


def published_gram(embeddings, temperature=0.07):
    """sqrt(|det G|) of every pair, softmax along both sides, no smoothing."""
    anchor, *others = embeddings.values()
    size = len(anchor)
    rows = [jnp.broadcast_to(anchor[:, None], (size, *anchor.shape))]
    rows += [jnp.broadcast_to(x[None], (size, *x.shape)) for x in others]
    tuples = jnp.stack(rows, axis=2)
    volumes = jnp.sqrt(jnp.abs(jnp.linalg.det(tuples @ tuples.transpose(0, 1, 3, 2))))
    logits = -volumes / temperature
    own = jnp.diagonal(logits)
    losses = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0) - 2 * own
    return jnp.mean(losses) / 2


def our_gram(embeddings):
    return losses.gram(embeddings, anchor="a", label_smoothing=0.0).mean()


def test_gradients_at_volume_zero():
    embeddings = samples.embeddings(np.random.default_rng(0), 4, 8)
    derivatives = jax.jit(lambda x: [jax.value_and_grad(f)(x) for f in (published_gram, our_gram)])
    (value, theirs), (exact, ours) = derivatives(samples.as_jax(embeddings))
    np.testing.assert_allclose(value, exact, rtol=1e-4)
    for m in "abc":
        np.testing.assert_allclose(theirs[m], ours[m], atol=1e-3 * np.abs(ours[m]).max())
    embeddings["c"][0] = embeddings["b"][0] = embeddings["a"][0]
    (_, theirs), (_, ours) = derivatives(samples.as_jax(embeddings))
    assert np.isnan(theirs["a"]).any()
    assert all(np.isfinite(x).all() for x in ours.values())


def published_instance(directions, temperature=0.1):
    """Softmax over the batch of the cosines of first left vectors, of whatever sign they are."""
    return reference.contrast(directions @ directions.T, scale=1 / temperature)


def test_the_sign_that_an_svd_happens_to_return():
    embeddings = samples.embeddings(np.random.default_rng(0), 6, 8)
    vectors, _ = reference.tuples(embeddings, None)
    towards_mean = reference.leading_direction(vectors)
    flipped = towards_mean * np.array([1, -1, 1, 1, -1, 1])[:, None]
    both = jax.jit(lambda x: [losses.pmrl_instance(x, signed=s) for s in (True, False)])
    signed, squared = both(samples.as_jax(embeddings))
    exact = published_instance(towards_mean)
    assert not np.allclose(published_instance(flipped), exact, rtol=0.5)
    np.testing.assert_allclose(signed, exact, atol=1e-5)
    for directions in (towards_mean, flipped):
        scores = (directions @ directions.T) ** 2
        np.testing.assert_allclose(squared, reference.contrast(scores, scale=10), atol=1e-5)

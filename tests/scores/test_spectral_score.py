"""What is special to the leading singular value: the secular equation, and derivatives of tiles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry.arrowhead import leading_eigenvalue
from gramalign.scores import SpectralScore
from tests import every_score, reference, samples

SCORE = SpectralScore("a")
NAMES = "abcd"


tile_of = partial(every_score.tile_of, SCORE)
tiles = jax.jit(tile_of)


def random_tuples(rng, batch, d):
    return {name: samples.unit(rng, batch, d) for name in NAMES}


def crowded_tuples(rng, batch, d):
    """Two opposite vectors that hardly touch the anchor, one beside it: poles crowd together."""
    anchor = samples.unit(rng, batch, d)
    across = samples.unit(rng, batch, d)
    across -= (across * anchor).sum(1, keepdims=True) * anchor
    across += 10.0 ** rng.uniform(-6, 0, size=(batch, 1)) * anchor

    def noise():
        return 10.0 ** rng.uniform(-4, 0, size=(batch, 1)) * samples.unit(rng, batch, d)

    others = across, anchor + noise(), -across + noise()
    return dict(zip(NAMES, [samples.normalized(x) for x in (anchor, *others)], strict=True))


@pytest.mark.parametrize(
    ("make", "dtype", "rtol"),
    [
        (random_tuples, np.float32, 1e-6),
        (crowded_tuples, np.float32, 2e-6),
        (random_tuples, np.float64, 1e-10),
        (crowded_tuples, np.float64, 2e-6),  # the steps are enough for float32, not always for this
    ],
)
def test_every_pair_converges(make, dtype, rtol):
    embeddings = make(np.random.default_rng(0), 64, 16)
    embeddings = {name: x.astype(dtype) for name, x in embeddings.items()}
    with jax.enable_x64(dtype == np.float64):
        found = np.asarray(tiles(embeddings))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, reference.spectral_scores(embeddings, None, "a"), rtol=rtol)


def repeated_columns():
    """Others with repeated singular values: orthonormal, two alike, all alike, one zero."""
    rng = np.random.default_rng(0)
    basis, one = samples.orthonormal(rng, 3, 8), samples.unit(rng, 8)
    others = np.stack([basis, [one, one, basis[0]], [one, one, one], [basis[0], basis[1], 0 * one]])
    anchors = samples.unit(rng, 4, 8)
    return np.stack([anchors, *np.moveaxis(others, 1, 0)])


def test_gradient_where_the_columns_repeat_singular_values(x64):
    x = repeated_columns()
    weights = np.random.default_rng(1).normal(size=(4, 4))

    def by_name(x):
        return dict(zip(NAMES, x, strict=True))

    def exact(many):
        return np.array(
            [np.vdot(reference.spectral_scores(by_name(x), None, "a"), weights) for x in many]
        )

    found = jax.jit(jax.grad(lambda x: jnp.vdot(tile_of(by_name(x)), weights)))(x)
    np.testing.assert_allclose(found, reference.gradient(exact, x), atol=1e-8)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_of_equal_eigenvalues_without_a_link_one_is_differentiated(alpha):
    """By the diagonal, the derivatives are the squares of a unit eigenvector's entries."""

    def total(alpha, links, gram):
        return leading_eigenvalue(alpha, links, gram).sum()

    given = jnp.full(1, alpha), jnp.zeros((2, 1, 1)), jnp.eye(2)[None]
    by_alpha, by_links, by_gram = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*given)
    assert float(by_alpha[0]) == float(alpha > 1)
    assert by_alpha.sum() + jnp.trace(by_gram[0]) == 1
    assert not by_links.any() and by_gram.sum() == jnp.trace(by_gram[0])


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_the_derivative_by_a_small_link_keeps_its_digits(alpha):
    link, gram = 1e-4, jnp.ones((1, 1, 1))
    slope = jax.grad(lambda x: leading_eigenvalue(jnp.full(1, alpha), x, gram).sum())
    found = jax.jit(slope)(jnp.full((1, 1, 1), link))
    np.testing.assert_allclose(found, link / np.hypot((1 - alpha) / 2, link), rtol=1e-5)


def test_parallel_pairs_reach_the_root_of_k_up_to_sign():
    one = samples.unit(np.random.default_rng(0), 1, 8, dtype=np.float32)
    signs = {"a": 1, "b": -1, "c": -1, "d": 1}
    found = tiles({name: jnp.asarray(sign * one) for name, sign in signs.items()})
    np.testing.assert_allclose(found, 2, rtol=1e-6)


def test_a_second_derivative_of_tiles_is_refused():
    """It would miss how eigenvectors rotate into each other."""
    embeddings = samples.as_jax(random_tuples(np.random.default_rng(0), 3, 5))

    def slopes(x):
        return jax.grad(lambda y: tile_of(embeddings | {"b": y}).sum())(x).sum()

    with pytest.raises(NotImplementedError, match="has only first derivatives"):
        jax.grad(slopes)(embeddings["b"])

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import normalize
from gramalign.training import diagnostics as module

diagnostics = jax.jit(module.diagnostics)
EYE = jnp.eye(4)


def everywhere(embeddings):
    return {name: jnp.ones(4, bool) for name in embeddings}


def test_an_aligned_space():
    embeddings = {"a": EYE, "b": EYE, "c": EYE}
    found = diagnostics(embeddings, everywhere(embeddings))
    np.testing.assert_allclose(found["matched_volume"], 0, atol=1e-6)
    np.testing.assert_allclose(found["leading_share"], 1, rtol=1e-5)


def test_a_rolled_modality_is_mismatched():
    embeddings = {"a": EYE, "b": EYE}
    found = diagnostics(embeddings, everywhere(embeddings))
    np.testing.assert_allclose(found["mismatched_volume"], 1, rtol=1e-5)


def test_an_orthogonal_tuple_shares_its_length_evenly():
    embeddings = {"a": EYE, "b": jnp.roll(EYE, 1, axis=0), "c": jnp.roll(EYE, 2, axis=0)}
    found = diagnostics(embeddings, everywhere(embeddings))
    np.testing.assert_allclose(found["leading_share"], 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(found["matched_volume"], 1, rtol=1e-5)


def test_tuples_of_one_modality_do_not_count():
    rng = jax.random.key(0)
    a, b = (normalize(jax.random.normal(key, (4, 6))) for key in jax.random.split(rng))
    present = {"a": jnp.array([True, True, True, False]), "b": jnp.array([True, True, False, True])}
    masked = {name: jnp.where(present[name][:, None], x, 0) for name, x in {"a": a, "b": b}.items()}
    found = diagnostics(masked, present)
    cosine = np.sum(np.asarray(a * b)[:2], axis=1)
    np.testing.assert_allclose(found["matched_volume"], np.sqrt(1 - cosine**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["leading_share"], (1 + np.abs(cosine)).mean() / 2, rtol=1e-5)
    # a of row 0 meets b of row 1, a of row 2 meets b of row 3, a of row 1 meets none.
    pairs = np.array([a[0] @ b[1], a[2] @ b[3]])
    np.testing.assert_allclose(found["mismatched_volume"], np.sqrt(1 - pairs**2).mean(), rtol=1e-5)


def test_a_modality_that_is_absent_everywhere_changes_nothing():
    keys = jax.random.split(jax.random.key(0))
    two = {
        name: normalize(jax.random.normal(key, (4, 6)))
        for name, key in zip("bc", keys, strict=True)
    }
    three = {"b": two["b"], "bb": jnp.zeros((4, 6)), "c": two["c"]}
    found = diagnostics(three, everywhere(three) | {"bb": jnp.zeros(4, bool)})
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5),
        found,
        diagnostics(two, everywhere(two)),
    )

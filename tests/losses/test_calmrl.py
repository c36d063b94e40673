"""CalMRL: PMRL of completed tuples, whose completion learns from likelihood alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign import losses
from gramalign.models import Completion
from tests import samples

BATCH, DIM = 6, 8
ROWS = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, DIM, "abc"))
PRESENT = {"b": jnp.arange(BATCH) != 1, "c": jnp.arange(BATCH) > 2}


@pytest.fixture(scope="module")
def head():
    return Completion(tuple("abc"), DIM, rank=4, rngs=nnx.Rngs(params=0))


def test_whole_tuples_are_those_of_pmrl(head):
    _, surprise = head(ROWS)
    found = losses.calmrl(ROWS, head=head)
    np.testing.assert_allclose(found, losses.pmrl(ROWS) + surprise, rtol=1e-5)


def test_missing_embeddings_are_those_that_the_head_expects(head):
    """Row 1 has one modality, and takes no part."""
    expected, surprise = head(ROWS, PRESENT)
    whole = {m: jnp.where(PRESENT[m][:, None], ROWS[m], expected[m]) for m in "bc"}
    enough = jnp.arange(BATCH) != 1
    wanted = losses.pmrl({"a": ROWS["a"], **whole}, present=dict.fromkeys("abc", enough))
    found = losses.calmrl(ROWS, head=head, present=PRESENT)
    np.testing.assert_allclose(found, jnp.where(enough, wanted + surprise, 0), rtol=1e-5)
    assert jnp.abs(found - losses.pmrl(ROWS, present=PRESENT) - surprise)[0] > 1e-3


def test_the_towers_learn_from_pmrl_and_the_head_from_likelihood(head):
    def loss(rows, head):
        return losses.calmrl(rows, head=head, present=PRESENT).sum()

    of_rows, of_head = jax.grad(loss, argnums=(0, 1))(ROWS, head)
    expected, _ = head(ROWS, PRESENT)
    enough = dict.fromkeys("abc", jnp.arange(BATCH) != 1)

    def held(rows):
        whole = {m: jnp.where(PRESENT[m][:, None], rows[m], expected[m]) for m in "bc"}
        return losses.pmrl({"a": rows["a"], **whole}, present=enough).sum()

    for name, slope in jax.grad(held)(ROWS).items():
        np.testing.assert_allclose(of_rows[name], slope, atol=1e-5)
    assert not of_rows["c"][:3].any() and of_rows["c"][3:].any()

    def surprise(head):
        return jnp.where(enough["a"], head(ROWS, PRESENT)[1], 0).sum()

    same = jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), of_head, jax.grad(surprise)(head)
    )
    assert jax.tree.leaves(same) == []
    assert all(jnp.abs(x).max() > 0 for x in jax.tree.leaves(of_head))


@pytest.mark.usefixtures("unchecked")
def test_a_head_that_is_none():
    with pytest.raises(TypeError, match="head must be a function of embeddings and present"):
        losses.calmrl(ROWS, head=3)


@pytest.mark.parametrize(
    ("head", "got"), [(lambda x, present: x, "dict"), (lambda x, present: x["a"][:, 0], "Tracer")]
)
def test_a_head_of_another_loss(head, got):
    with pytest.raises(ValueError, match=f"a dict of arrays and an array, .*Completion .*{got}"):
        losses.calmrl(ROWS, head=head)


@pytest.mark.parametrize(
    ("head", "got"),
    [
        (lambda x, present: ({"a": x["a"]}, jnp.zeros(BATCH)), r"for b .* got None"),
        (lambda x, present: (x, jnp.zeros(())), r"and one of shape \(6,\), got \(6, 8\) and \(\)"),
        (lambda x, present: ({m: y[:2] for m, y in x.items()}, jnp.zeros(BATCH)), r"\(2, 8\)"),
    ],
    ids=["too few", "one number", "too few rows"],
)
def test_a_head_that_returns_something_else(head, got):
    with pytest.raises(ValueError, match=f"head must return an array of shape .*{got}"):
        losses.calmrl(ROWS, head=head)

"""Who takes part, means over those who do, and modalities that nobody has."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import every_loss, samples

EMBEDDINGS = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 6))
#        a  b  c
HAVE = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 1], [1, 1, 1]]
PRESENT = {m: jnp.asarray(np.array(HAVE, bool)[:, i]) for i, m in enumerate("abc")}
GROUPS = jnp.array([0, 1, 2, 3, 0, 1, 2, 3])


@pytest.mark.parametrize(
    ("anchor", "exact"),
    [
        (None, [1, 1, 0, 1, 0, 0, 1, 1]),
        ("a", [1, 1, 0, 0, 0, 0, 1, 1]),
        ("c", [1, 0, 0, 1, 0, 0, 1, 1]),
    ],
)
def test_two_modalities_the_anchor_among_them(anchor, exact):
    found = losses.participants(EMBEDDINGS, PRESENT, anchor)
    np.testing.assert_array_equal(found, np.array(exact, bool))


def test_without_masks_everybody_does():
    assert np.all(losses.participants(EMBEDDINGS, None, "b"))
    assert np.all(losses.participants(EMBEDDINGS, {}))


def test_arrays_in_numpy():
    embeddings, present = ({m: np.asarray(x) for m, x in t.items()} for t in (EMBEDDINGS, PRESENT))
    values, where = losses.gram(embeddings, anchor="a", present=present), present["b"]
    np.testing.assert_array_equal(values, losses.gram(EMBEDDINGS, anchor="a", present=PRESENT))
    taking_part = losses.participants(EMBEDDINGS, PRESENT, "a")
    np.testing.assert_array_equal(losses.participants(embeddings, present, "a"), taking_part)
    mean = losses.masked_mean(values, where)
    np.testing.assert_allclose(mean, np.mean(np.asarray(values)[where]), rtol=1e-6)


@cache
def compiled(name):
    """As a function of embeddings, masks and groups."""

    def values(x, present, groups=GROUPS):
        return every_loss.EVERY[name](x, temperature=0.1, present=present, groups=groups)

    return jax.jit(values)


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_losses_are_zero_for_the_others_only(name):
    values = compiled(name)(EMBEDDINGS, PRESENT)
    wanted = every_loss.taking_part(name, EMBEDDINGS, PRESENT)
    np.testing.assert_array_equal(values != 0, wanted)


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_who_has_one_modality_might_as_well_not_be_in_the_batch(name):
    two = np.sum(HAVE, axis=1) >= 2
    fewer, have = ({m: x[two] for m, x in tree.items()} for tree in (EMBEDDINGS, PRESENT))
    found = compiled(name)(EMBEDDINGS, PRESENT)[two]
    exact = compiled(name)(fewer, have, GROUPS[two])
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6)


COMPLETES = {"calmrl"}
"""Those that expect of every modality something, if not of what is not in the mapping."""
ANY_NUMBER = [n for n in every_loss.PATHS if n not in every_loss.EXACTLY_THREE | COMPLETES]


@pytest.mark.parametrize("name", ANY_NUMBER)
def test_a_modality_that_nobody_has_might_as_well_not_be_in_the_mapping(name):
    two = {m: EMBEDDINGS[m] for m in "ab"}
    everybody, nobody = jnp.ones(8, bool), jnp.zeros(8, bool)
    present = {"a": everybody, "b": everybody, "c": nobody}
    broken = two | {"c": jnp.full_like(EMBEDDINGS["c"], jnp.nan)}
    loss = compiled(name)
    np.testing.assert_allclose(loss(broken, present), loss(two, {}), rtol=1e-5, atol=1e-6)


def test_mean_over_those_who_count():
    values, where = jnp.array([1.0, 2.0, jnp.nan]), jnp.array([True, True, False])
    mean, gradient = jax.value_and_grad(losses.masked_mean)(values, where)
    assert mean == 1.5
    np.testing.assert_array_equal(gradient, [0.5, 0.5, 0])


def test_mean_over_nobody_is_zero():
    mean, gradient = jax.value_and_grad(losses.masked_mean)(jnp.ones(3), jnp.zeros(3, bool))
    assert mean == 0
    np.testing.assert_array_equal(gradient, 0)


def test_mean_of_half_precision_is_in_float32():
    """A sum of so many overflows float16."""
    values, where = jnp.full(65536, 10.0, jnp.float16), jnp.ones(65536, bool)
    mean = losses.masked_mean(values, where)
    assert mean.dtype == jnp.float32 and mean == 10

"""All pairs of six modalities, which a loop goes through: the losses of each two, and no more."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.losses.anchors import FEW_PAIRS, pairs_of
from tests import samples

NAMES, BATCH = "abcdef", 16
RNG = np.random.default_rng(0)
EMBEDDINGS = samples.embeddings(RNG, BATCH, 6, NAMES, dtype=np.float64)
PRESENT = samples.masks(RNG, BATCH, "abf")
GROUPS = RNG.integers(0, 6, size=BATCH)
LOSSES = {"clip": losses.clip, "siglip": losses.siglip, "supcon": losses.supcon}


def one_by_one(loss, embeddings, present, **settings):
    """The mean over the pairs that an example has, each a loss of two modalities."""
    everywhere = dict.fromkeys(embeddings, jnp.ones(BATCH, bool)) | (present or {})
    first, second = zip(*pairs_of(embeddings, None), strict=True)

    def of_two(vectors, masks):
        names = "one", "other"
        two, kept = dict(zip(names, vectors, strict=True)), dict(zip(names, masks, strict=True))
        return loss(two, anchor=None, present=kept, **settings)

    def stacked(x):
        return [jnp.stack([x[name] for name in names]) for names in (first, second)]

    masks = stacked(everywhere)
    number = jnp.sum(masks[0] & masks[1], axis=0)
    total = jnp.sum(jax.vmap(of_two)(stacked(embeddings), masks), axis=0)
    return total / jnp.maximum(number, 1).astype(total.dtype)


def all_at_once(loss, embeddings, present, **settings):
    return loss(embeddings, anchor=None, present=present, **settings)


def weighted(of_pairs, loss, present, **settings):
    present = samples.as_jax(present) if present else None
    groups = jnp.asarray(GROUPS)

    def total(embeddings, temperature):
        values = of_pairs(
            loss, embeddings, present, temperature=temperature, groups=groups, **settings
        )
        return jnp.vdot(values, jnp.arange(1.0, BATCH + 1))

    return total


def assert_same(found, exact):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "masked"])
def test_values_and_derivatives(name, present, x64):
    arguments = samples.as_jax(EMBEDDINGS), jnp.array(0.3)
    assert len(pairs_of(arguments[0], None)) > FEW_PAIRS
    found, exact = (
        jax.jit(jax.value_and_grad(weighted(of_pairs, LOSSES[name], present), argnums=(0, 1)))
        for of_pairs in (all_at_once, one_by_one)
    )
    assert_same(found(*arguments), exact(*arguments))


@pytest.mark.slow
def test_second_derivatives(x64):
    total = jax.jit(weighted(all_at_once, losses.clip, PRESENT))
    arguments = samples.as_jax(EMBEDDINGS), jnp.array(0.3)
    check_grads(total, arguments, order=2, modes=["rev"], rtol=1e-4)


@pytest.mark.parametrize("strategy", ["gather", "ring"])
def test_over_a_mesh(strategy, x64):
    split = losses.over_mesh(losses.clip, jax.make_mesh((4,), ("data",)))
    arguments = samples.as_jax(EMBEDDINGS), jnp.array(0.3)
    total = weighted(all_at_once, split, PRESENT, engine=Engine(strategy))
    whole = weighted(all_at_once, losses.clip, PRESENT)
    found, exact = (jax.jit(jax.value_and_grad(x, argnums=(0, 1))) for x in (total, whole))
    assert_same(found(*arguments), exact(*arguments))


def derivative(names):
    """The text of a program."""
    embeddings = dict.fromkeys(names, jnp.eye(BATCH))
    return str(jax.make_jaxpr(jax.grad(lambda x: losses.clip(x, anchor=None).mean()))(embeddings))


def test_each_pair_is_met_once_forward_and_once_backward():
    """One product forward; backward that again, with those by rows and by columns."""
    assert derivative(NAMES).count("dot_general[") == 4


def test_the_program_is_as_large_for_any_number_of_modalities():
    few, many = (len(re.findall(r" = ", derivative(names))) for names in (NAMES, NAMES + "ghijkl"))
    assert many < 1.2 * few

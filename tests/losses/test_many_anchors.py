"""Each of six modalities as the anchor, which a loop goes through: the losses of each, no more."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.losses.anchors import FEW_ANCHORS
from gramalign.losses.anchors import _kind as kind_of
from gramalign.scores import CosineScore, HeightScore, MixedScore, SimplexScore, VolumeScore
from tests import samples

NAMES, BATCH = "abcdef", 8
RNG = np.random.default_rng(0)
EMBEDDINGS = samples.embeddings(RNG, BATCH, 9, NAMES, dtype=np.float64)
PRESENT = samples.masks(RNG, BATCH, "abf")


def mixed(name):
    return MixedScore((VolumeScore(name), VolumeScore(name, "squared")), (0.5, 0.5))


LOSSES = {
    "gram": losses.gram,
    "siglip": lambda x, **settings: losses.siglip(x, score_of=mixed, **settings),
    "height": losses.height,
}
WEIGHTS = np.arange(1.0, BATCH + 1)


def of_each(loss, embeddings, present):
    """The mean over the anchors with which an example takes part, one program for all of them."""
    present = present or dict.fromkeys(NAMES, jnp.ones(BATCH, bool))
    present = {name: present.get(name, jnp.ones(BATCH, bool)) for name in NAMES}
    part = [losses.participants(embeddings, present, name) for name in NAMES]
    number = jnp.maximum(sum(x.astype(jnp.int32) for x in part), 1).astype(jnp.float64)

    @jax.jit
    @jax.value_and_grad
    def of_first(embeddings, present):
        values = loss(embeddings, anchor=NAMES[0], present=present)
        return jnp.vdot(values / number, WEIGHTS)

    total, slopes = 0, dict.fromkeys(NAMES, 0)
    for name in NAMES:
        order = name + NAMES.replace(name, "")
        places = list(zip(NAMES, order, strict=True))
        value, slope = of_first(*({a: x[b] for a, b in places} for x in (embeddings, present)))
        total += value
        for a, b in places:
            slopes[b] += slope[a]
    return total, slopes


def of_all(loss, embeddings, present, **settings):
    @jax.jit
    @jax.value_and_grad
    def total(embeddings):
        return jnp.vdot(loss(embeddings, anchor=None, present=present, **settings), WEIGHTS)

    return total(embeddings)


def assert_same(found, exact):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-9), found, exact)


@pytest.mark.parametrize(
    ("name", "masked"), [("gram", True), ("gram", False), ("siglip", True), ("height", True)]
)
@pytest.mark.slow
def test_values_and_derivatives(name, masked, x64):
    assert len(NAMES) > FEW_ANCHORS
    arguments = (
        LOSSES[name],
        samples.as_jax(EMBEDDINGS),
        samples.as_jax(PRESENT) if masked else None,
    )
    assert_same(of_all(*arguments), of_each(*arguments))


@pytest.mark.slow
def test_over_a_mesh(x64):
    arguments = samples.as_jax(EMBEDDINGS), samples.as_jax(PRESENT)
    split = losses.over_mesh(losses.gram, jax.make_mesh((4,), ("data",)))
    found = of_all(split, *arguments, engine=Engine("ring"))
    assert_same(found, of_all(losses.gram, *arguments))


@pytest.mark.parametrize("loss", [losses.gram, losses.height, losses.sca])
def test_the_program_is_little_larger_for_more_modalities(loss):
    """By the factors of a tuple alone, not by the tuples."""

    def equations(names):
        embeddings = dict.fromkeys(names, jnp.eye(BATCH))
        text = jax.make_jaxpr(jax.grad(lambda x: loss(x, anchor=None).mean()))(embeddings)
        return len(re.findall(r" = ", str(text)))

    assert equations(NAMES + "ghijkl") < 3 * equations(NAMES)


class Own(HeightScore):
    """Which may know all modalities by name."""


def test_only_scores_that_know_no_name_but_the_anchor_are_of_a_kind():
    for make in (HeightScore, CosineScore, mixed):
        assert kind_of(make("a"), "a") == kind_of(make("b"), "b") is not None
    for score in (
        CosineScore("a", "b"),
        MixedScore((VolumeScore("a"), VolumeScore("b")), (0.5, 0.5)),
        Own("a"),
    ):
        assert kind_of(score, "a") is None


@pytest.mark.slow
def test_scores_of_several_kinds_stay_apart():
    """One Score of names, and one of another form: each anchor has its own."""
    x = {name: jnp.asarray(rows, jnp.float32) for name, rows in EMBEDDINGS.items()}
    labels = jnp.arange(BATCH) // 2
    for score_of in (
        lambda name: SimplexScore(name, squared=name == "c"),
        lambda name: CosineScore(name, "a" if name != "a" else "b"),
    ):

        def of(anchor, score_of=score_of):
            return losses.supcon(x, anchor=anchor, groups=labels, score_of=score_of)

        np.testing.assert_allclose(
            of(None), sum(of(name) for name in NAMES) / len(NAMES), rtol=1e-5
        )

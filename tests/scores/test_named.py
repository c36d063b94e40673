"""A Score's text names it with its settings, and is refused where it does not."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest

from gramalign import Index, losses
from gramalign.scores import AggregateScore, Between, KernelVolumeScore, VolumeScore, score_named
from gramalign.scores.named import called, spelled
from tests import own_methods, samples
from tests.every_score import tile_of
from tests.own_methods import Steep

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    embeddings = samples.as_jax(samples.embeddings(rng, 5, 8, NAMES))
    return embeddings, samples.as_jax(samples.masks(rng, 5, NAMES))


@pytest.mark.parametrize(
    "score",
    [
        KernelVolumeScore("a", bandwidth=0.3),
        AggregateScore("a", weight_temperature=0.02),
        VolumeScore("a", form="root"),
    ],
)
def test_what_is_named_is_the_score_with_its_settings(score, batch):
    settings = {key: value for key, value in vars(score).items() if key != "anchor"}
    name = {KernelVolumeScore: "kernel_volume", AggregateScore: "aggregate", VolumeScore: "volume"}
    text = called(name[type(score)], **settings)
    assert "=" in text and score_named(text, "a") == score
    between = Between(text, ("a",), NAMES[1:])
    np.testing.assert_array_equal(tile_of(between, *batch), tile_of(score, *batch))


def test_of_a_joined_tuple_too(batch):
    """The root of a volume is not made of the two sides' spans."""
    between = Between("volume(form='root')", NAMES[:2], NAMES[2:])
    embeddings, present = batch
    rows, cols = between.rows(embeddings, present), between.cols(embeddings, present)
    scores = VolumeScore("a", form="root").matched(embeddings)
    np.testing.assert_allclose(between.matched(embeddings), scores, rtol=1e-6)
    diagonal = np.diagonal(between.tile(rows.factors, cols.factors))
    there = np.asarray(rows.valid & cols.valid)
    np.testing.assert_allclose(
        diagonal[there], between.matched(embeddings, present)[there], rtol=1e-5
    )


def test_your_own_by_where_it_is(batch):
    text = "tests.own_methods:Steep"
    assert score_named(text, "a") == Steep("a")
    assert score_named(f"{text}(factor=2)", "a") == Steep("a", factor=2)
    assert spelled(f" {text}( factor = 1.0)") == text
    for score in (f"{text}(factor=2.0)", Between(f"{text}(factor=2.0)", ("a",), NAMES[1:])):
        found = tile_of(score_named(score, "a") if isinstance(score, str) else score, *batch)
        np.testing.assert_array_equal(found, tile_of(Steep("a", factor=2.0), *batch))


def test_a_class_that_was_changed_is_another_score(batch, monkeypatch):
    """As in a notebook: no program of the one before serves it."""
    text, (embeddings, _) = "tests.own_methods:Steep", batch
    index = Index(embeddings)
    over_mesh = losses.over_mesh(losses.clip, jax.make_mesh((1,), ("data",)))

    def found():
        hits = index.search({"a": np.asarray(embeddings["a"])}, k=2, score=text)
        values = [each(embeddings, anchor="a", score_of=text) for each in (losses.clip, over_mesh)]
        np.testing.assert_allclose(*values, rtol=1e-6)
        return values[0], hits.scores

    loss, scores = found()

    @dataclass(frozen=True)
    class Steeper(Steep):
        factor: float = 2.0

    monkeypatch.setattr(own_methods, "Steep", Steeper)
    assert not np.allclose(found()[0], loss, rtol=1e-2)
    np.testing.assert_array_equal(found()[0], losses.clip(embeddings, anchor="a", score_of=Steeper))
    np.testing.assert_allclose(found()[1], 2 * scores, rtol=1e-6)


def test_a_score_of_your_own_need_not_be_a_dataclass(batch):
    score = score_named("tests.own_methods:Plain", "a")
    np.testing.assert_array_equal(tile_of(score, *batch), tile_of(Steep("a"), *batch))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tests.own_methods:hinge", "which is <function hinge .*, expected a class of Scores"),
        ("os:system", "expected a class of Scores, with rows, cols, tile, matched"),
        ("tests.own_methods:Steep(x=1)", "but the settings of tests.own_methods:Steep are factor"),
        ("tests.own_methods:Steep(1)", "; settings are written as in Python"),
        ("tests.own_methods:Steep(factor=[1])", "must make a hashable Score"),
        ("tests.own_methods:Unhashable", "but score must make a hashable Score, such as a frozen"),
        ("tests.own_methods:Demanding", r"\(missing a required.*: give its other fields defaults"),
        (".nowhere:Steep", "score: got '.nowhere:Steep', expected package.module:name"),
        ("nowhere:Steep", "score: got 'nowhere:Steep', but there is no module 'nowhere'"),
        ("area", "score: got 'area', expected one of cosine"),
        ("area(size=1)", r"got 'area\(size=1\)', expected one of cosine"),
        ("volume(", r"got 'volume\(', expected one of"),
        ("volume(3)", r"got 'volume\(3\)', expected one of"),
        ("volume(form=root)", r"; settings are written as in Python: volume\(form=.root.\)"),
        ("kernel_volume(width=2)", "but the settings of kernel_volume are bandwidth"),
        ("cosine(col='b')", "but the settings of cosine are none"),
        ("kernel_volume(bandwidth=-1.0)", "bandwidth must be"),
        ("kernel_volume(bandwidth='x')", "bandwidth='x'.*, a setting of another type"),
    ],
)
def test_refuses(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        score_named(text, "a")

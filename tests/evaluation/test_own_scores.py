"""A class of Scores of one's own is measured and searched by as those that gramalign has."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from gramalign import Index
from gramalign.evaluation import (
    checked,
    classify,
    contributions,
    evaluate,
    labelled,
    rerank,
    retrieve_both_ways,
    robustness,
)
from gramalign.scores import CosineScore, VolumeScore, name_of

NAMES = ("text", "audio", "video", "depth")


@dataclass(frozen=True)
class Mine:
    """The cosine, times something."""

    anchor: str
    factor: float = 1.0

    def rows(self, embeddings, present=None):
        return CosineScore(self.anchor).rows(embeddings, present)

    def cols(self, embeddings, present=None):
        return CosineScore(self.anchor).cols(embeddings, present)

    def tile(self, rows, cols):
        return self.factor * CosineScore(self.anchor).tile(rows, cols)

    def matched(self, embeddings, present=None):
        return self.factor * CosineScore(self.anchor).matched(embeddings, present)


class Twin(VolumeScore):
    """The volume: a Score of whole tuples, which two sets of modalities make together."""


REVERSED = partial(Mine, factor=-1.0)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(40, 8))
    embeddings = {name: centre + rng.normal(size=(40, 8)) for name in NAMES}
    return checked(embeddings, {name: rng.random(40) < 0.8 for name in NAMES})


def numbers(figures):
    """Of a record, without the names of Scores."""
    record = figures.to_json()
    return {key: value for key, value in record.items() if key != "score"}


@pytest.mark.slow
@pytest.mark.parametrize(("mine", "known"), [(Mine, "cosine"), (Twin, "volume")])
def test_its_figures_are_those_of_the_score_that_it_equals(data, mine, known):
    options = {"labels": np.arange(40) % 3, "dual_temperature": 0.1, "neighbours": False}
    names = NAMES[:3]  # whose programs are fewer
    asked = {x: data.embeddings[x] for x in names}, {x: data.present[x] for x in names}
    found = evaluate(*asked, score=mine, rerank_by=Twin, **options)
    expected = evaluate(*asked, score=known, rerank_by="volume", **options)
    assert found.score == mine.__name__ and expected.score == known
    tasks = len(names) * (len(names) + 1)
    for part in ("retrieval", "beside", "by_label"):
        own = [x for x in getattr(found, part) if x.score.startswith(mine.__name__)]
        assert len(own) == (2 * tasks if part == "beside" else tasks)
        same = [x for x in getattr(expected, part) if x.score.startswith(known)]
        assert list(map(numbers, own)) == list(map(numbers, same)), part
    assert found.beside[-1].score == f"{mine.__name__}, top 50 re-ranked by Twin"
    both = retrieve_both_ways(data, NAMES[:2], NAMES[2:], mine)
    others = retrieve_both_ways(data, NAMES[:2], NAMES[2:], known)
    for ours, theirs in zip(both, others, strict=True):
        np.testing.assert_array_equal(ours.ranks, theirs.ranks)


def test_with_settings_it_is_another_score(data):
    assert name_of(REVERSED) == "Mine(factor=-1.0)" and name_of(Mine) == "Mine"
    found, _ = retrieve_both_ways(data, ["text"], ["audio"], REVERSED)
    plain, _ = retrieve_both_ways(data, ["text"], ["audio"], Mine)
    assert found.score == "Mine(factor=-1.0)"
    # The first of one order is the last of the other.
    asked = plain.ranks > 0
    assert (found.ranks + plain.ranks == plain.candidates + 1)[asked].all()


def test_known_classes_are_called_by_their_names(data):
    assert name_of(VolumeScore) == "volume"
    assert name_of(lambda anchor: VolumeScore(anchor, form="root")) == "volume(form='root')"
    found = evaluate(data.embeddings, data.present, score=CosineScore, neighbours=False)
    expected = evaluate(data.embeddings, data.present, score="cosine", neighbours=False)
    assert found.to_json() == expected.to_json()


@pytest.mark.slow
def test_in_all_that_measures(data):
    labels = np.arange(40) % 2
    rows = labelled(data.embeddings, labels, data.present)
    for measured in (
        lambda score: classify(rows, rows, score=score).prompts[: len(NAMES)],
        lambda score: robustness(data, score, curves=["precision"]).curves[0].points,
        lambda score: contributions(data, score)[: len(NAMES)],
    ):
        found, expected = str(measured(Twin)), str(measured("volume"))
        assert "volume" in expected and found == expected.replace("volume", "Twin")


def test_an_index_is_searched_by_it():
    rng = np.random.default_rng(1)
    index = Index({name: rng.normal(size=(30, 6)) for name in NAMES})
    for query in (NAMES[:1], NAMES[:2]):
        asked = {name: rng.normal(size=(3, 6)) for name in query}
        for mine, known in ((Mine, "cosine"), (Twin, "volume")):
            found = index.search(asked, 4, score=mine, gallery=NAMES[2:])
            expected = index.search(asked, 4, score=known, gallery=NAMES[2:])
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.scores, expected.scores)


def test_reranked_under_what_found_it(data):
    raw, _ = retrieve_both_ways(data, ["text"], ["audio"], REVERSED)
    better = rerank(data, raw, Mine, top=40, score=REVERSED)
    plain, _ = retrieve_both_ways(data, ["text"], ["audio"], "cosine")
    np.testing.assert_array_equal(better.ranks, plain.ranks)
    with pytest.raises(ValueError, match="raw: got 'Mine.*', expected one of"):
        rerank(data, raw, Mine)


class Unhashable(Mine):
    __hash__ = None  # pyright: ignore


@dataclass(frozen=True)
class cosine(Mine):  # noqa: N801
    """Called as another."""


@pytest.mark.parametrize(
    ("score", "error", "complaint"),
    [
        (Mine("text"), TypeError, r"score must be one of .*, or make a Score from .*, got Mine\("),
        (3, TypeError, "as a Score class does, got 3"),
        (len, TypeError, "got <built-in function len>, which makes 6"),
        (Unhashable, TypeError, "score must make a hashable Score"),
        (
            cosine,
            ValueError,
            "has the name of a Score here, one of cosine, aggregate, .*; rename it",
        ),
        ("area", ValueError, "score: got 'area', expected one of cosine"),
    ],
)
def test_what_makes_no_score(data, unchecked, score, error, complaint):
    with pytest.raises(error, match=complaint):
        retrieve_both_ways(data, ["text"], ["audio"], score)

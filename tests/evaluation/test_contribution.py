"""What each modality adds, against single retrievals."""

import json

import numpy as np
import pytest
from scipy import stats

from gramalign.evaluation import (
    checked,
    contribution_table,
    contributions,
    difference,
    retrieval_figures,
    to_text,
)
from gramalign.evaluation.contribution import Difference
from gramalign.evaluation.contribution_table import points
from tests import samples

NAMES = ("text", "audio", "video")


def some():
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, 32, 16, NAMES, 1.2)
    return checked(embeddings, {"audio": rng.random(32) > 0.2, "text": rng.random(32) > 0.1})


def test_equals_the_retrievals_one_by_one():
    data = some()
    found = contributions(data, "volume")
    assert [(item.score, item.target) for item in found] == [
        (score, name) for score in ("volume", "cosine") for name in NAMES
    ]
    for item in found:
        results = {(r.query, r.gallery): r for r in retrieval_figures(data, item.score)}
        rest = tuple(name for name in NAMES if name != item.target)
        joint = results[rest, (item.target,)]
        assert item.joint == joint and item.joint.query == rest
        for name in rest:
            (other,) = (x for x in rest if x != name)
            assert item.alone[name] == results[(name,), (item.target,)]
            assert item.without[name] == item.alone[other]
            both = (joint.ranks > 0) & (item.without[name].ranks > 0)
            hits = [np.mean(x.ranks[both] == 1) for x in (joint, item.without[name])]
            assert item.worth[name].points == pytest.approx(100 * (hits[0] - hits[1]))
            assert item.worth[name].queries == both.sum() < 32
        found_alone = {name: np.sum(x.ranks == 1) for name, x in item.alone.items()}
        assert found_alone[item.best] == max(found_alone.values())
        assert item.gain == difference(joint.ranks, item.alone[item.best].ranks)
        assert set(item.ranks()) == {
            f"{'+'.join(query)} -> {item.target}, {item.score}"
            for query in (rest, *((name,) for name in rest))
        }
        assert "ranks" not in json.dumps(item.to_json(), allow_nan=False)
    text = to_text(contribution_table(found))
    assert max(map(len, text.splitlines())) <= 100 and text.count("Contribution: R@1") == 2
    assert "over the queries that both sides of the comparison have" in text


def test_a_modality_of_noise_adds_nothing_and_one_that_decides_adds_all():
    rng = np.random.default_rng(1)
    data = checked(
        {
            "text": np.eye(16, dtype=np.float32),
            "audio": np.eye(16, dtype=np.float32),
            "noise": 0.01 * samples.unit(rng, 16, 16) + np.ones(16),
        }
    )
    found = next(x for x in contributions(data, "cosine") if x.target == "text")
    assert found.joint.recall[1] == 100 and found.best == "audio"
    assert found.worth["noise"].points == 0 and found.worth["noise"].p_value == 1
    assert found.worth["audio"].points > 50 and found.worth["audio"].p_value < 0.01
    assert found.gain.points == 0
    assert "both sides of the comparison" not in to_text(contribution_table([found]))


def test_of_two_that_say_the_same_neither_adds_anything_which_is_told():
    same = dict.fromkeys(("text", "audio", "twin"), np.eye(16, dtype=np.float32))
    found = next(x for x in contributions(checked(same), "cosine") if x.target == "text")
    assert [found.worth[name].points for name in ("audio", "twin")] == [0, 0]
    assert "if two say the same, neither adds any" in to_text(contribution_table([found]))


def test_who_is_asked_with_rarely_is_not_the_best_alone():
    """Of all queries it finds few, however many of its own."""
    there = np.arange(20) < 3
    eye = np.eye(20, dtype=np.float32)
    often = np.where(np.arange(20)[:, None] < 10, eye, np.roll(eye, 1, axis=0))
    data = checked({"target": eye, "often": often, "rare": eye}, {"rare": there})
    found = next(x for x in contributions(data, "cosine") if x.target == "target")
    assert found.alone["rare"].recall[1] == 100 > found.alone["often"].recall[1]
    assert found.best == "often" and found.gain.queries == 20


def test_difference_is_mcnemars():
    ranks, other = np.array([1, 1, 1, 1, 2, 0, 5, 1]), np.array([1, 2, 2, 2, 1, 1, 5, 0])
    found = difference(ranks, other)
    assert (found.queries, found.better, found.worse) == (6, 3, 1)
    assert found.points == pytest.approx(100 * 2 / 6)
    assert found.p_value == pytest.approx(2 * stats.binom.cdf(1, 4, 0.5))
    none = difference(np.zeros(3, int), np.ones(3, int))
    assert none.queries == 0 and np.isnan(none.points)


def test_queries_of_a_group_are_one_piece_of_evidence():
    ranks, other = np.ones(20, int), np.full(20, 2)
    groups = np.repeat(np.arange(4), 5)
    assert difference(ranks, other).p_value == pytest.approx(2 * 0.5**20)
    found = difference(ranks, other, groups)
    assert found.p_value == pytest.approx(2 * 0.5**4) and found.by_group
    assert (found.queries, found.better, found.points) == (20, 20, 100)
    # Some of a group are not queries, and groups differ in size.
    ranks[:8] = 0
    assert difference(ranks, other, groups).p_value == pytest.approx(2 * 0.5**3)


def test_contributions_are_tested_over_groups():
    data = some()
    pairs = checked(data.embeddings, data.present, np.arange(32) // 2)
    (found, *_) = contributions(pairs, "cosine")
    expected = difference(found.joint.ranks, found.alone[found.best].ranks, pairs.groups)
    assert found.gain == expected and found.gain.by_group
    assert "sign-flip test over groups" in " ".join(to_text(contribution_table([found])).split())


def test_what_differs_from_0_has_a_mark():
    shown = {p: points(Difference(40, -7.5, 1, 4, p)) for p in (0.04, 0.2)}
    assert shown == {0.04: "-7.5*", 0.2: "-7.5 "}
    assert points(Difference(0, np.nan, 0, 0, 1.0)) == "n/a "


def test_what_has_no_contributions():
    data = some()
    with pytest.raises(ValueError, match="score: got 'fused', expected one of"):
        contributions(data, "fused")
    two = {name: data.embeddings[name] for name in ("text", "audio")}
    with pytest.raises(ValueError, match="got text and audio, expected at least 3"):
        contributions(checked(two), "volume")

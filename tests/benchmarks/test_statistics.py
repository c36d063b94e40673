"""Intervals and tests are tried on values of known means, here a few times each."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from gramalign.benchmarks import report, statistics, tables
from gramalign.evaluation import Estimate, to_text

TINY = statistics.Sizes(repetitions=40, resamples=99)


def test_all_is_measured():
    said = []
    found = statistics.measure(said.append, TINY)
    assert len(found["coverage"]) == sum(len(case.numbers) for case in statistics.cases())
    for row in found["coverage"]:
        missed = row["too_low"] + row["too_high"]
        assert row["coverage"]["share"] == pytest.approx(1 - missed)
        assert missed < 0.25 and row["mean_width"] > 0
    assert [(row["seeds"], row["seed_points"]) for row in found["type_one_error"]] == [
        (seeds, points) for seeds in (3, 5) for points in (0, 2, 10)
    ]
    # Seeds that differ are what a test over queries does not see.
    worst = found["type_one_error"][2]
    assert worst["over_queries"]["share"] > worst["over_both"]["share"]
    assert "statistics: coverage of reciprocal ranks, n = 50" in said

    shown = to_text(tables.tables({"statistics": found}))
    assert "40 draws each, 99 resamples" in shown and "hits in groups" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    ("low", "high", "missed"),
    [(0.5, 0.6, (0, 0)), (0.4, 0.5, (0, 0)), (0.4, 0.49, (1, 0)), (0.51, 0.6, (0, 1))],
)
def test_an_interval_covers_its_ends_however_they_are_rounded(low, high, missed, monkeypatch):
    found = Estimate(0.5, math.nextafter(low, 1), math.nextafter(high, 0))
    monkeypatch.setattr(statistics, "bootstrap_interval", lambda *_, **how: found)
    row = statistics._coverage(statistics.cases()[0], 20, TINY)
    assert (row["too_low"], row["too_high"]) == missed


def test_a_p_value_of_the_level_is_an_alarm_however_it_is_rounded(monkeypatch):
    def both(p_value):
        test = SimpleNamespace(p_value=p_value)
        return SimpleNamespace(over_both=test, over_queries=test)

    for p_value, share in ((0.05, 1), (0.05 + 1e-15, 1), (0.051, 0)):
        monkeypatch.setattr(statistics, "paired_difference", lambda *_, p=p_value, **how: both(p))
        assert statistics._type_one_error(3, 0, TINY)["over_both"]["share"] == share


@pytest.mark.parametrize("case", statistics.cases(), ids=lambda case: case.name)
def test_the_means_are_those_of_the_draws(case):
    values, groups = case.draw(np.random.default_rng(0), 200_000)
    clusters = len(values) if groups is None else len(np.unique(groups))
    assert clusters == 200_000
    # Six standard errors; t with 3 degrees of freedom has variance 3.
    assert values.mean() == pytest.approx(case.mean, abs=6 * math.sqrt(3 / 200_000))


def test_equal_methods_are_equal_and_seeds_vary_as_asked():
    rng = np.random.default_rng(0)
    drawn = np.array([statistics.equal_methods(rng, 2, 10) for _ in range(400)]).mean(-1)
    first, second = np.moveaxis(drawn, 1, 0)
    assert first.mean() == pytest.approx(statistics.HIT_RATE, abs=0.02)
    assert abs((first - second).mean()) < 0.02
    # Of two models on the same queries; what is left beside their levels is luck.
    of_seeds = np.std(first[:, 0] - first[:, 1]) / math.sqrt(2)
    assert of_seeds == pytest.approx(0.10, abs=0.02)


def test_shares_have_the_error_of_their_simulation():
    assert statistics.share(95, 100) == {
        "share": 0.95,
        "standard_error": pytest.approx(math.sqrt(0.95 * 0.05 / 100)),
    }


def test_intervals_that_hold_too_little_and_tests_that_err_are_problems():
    row = {"values": "hits", "number": 9, "coverage": statistics.share(89, 100)}
    test = {"seeds": 3, "seed_points": 2, "over_both": statistics.share(11, 100)}
    test["over_queries"] = statistics.share(50, 100)  # which is why there is the other
    fine = {"coverage": statistics.share(90, 100)}, {"over_both": statistics.share(10, 100)}
    found = {"coverage": [row, {**row, **fine[0]}], "type_one_error": [test, {**test, **fine[1]}]}
    assert report.problems({"statistics": found}) == [
        "statistics: the interval of hits, n = 9, covers the mean in 89.0% of draws, expected 95%",
        "statistics: with 3 seeds that vary by 2 points the crossed test errs in 11.0% of cases",
    ]

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gramalign.evaluation import bootstrap_interval, unit_shares, unit_values
from gramalign.evaluation.bootstrap import expanded

RNG = np.random.default_rng(0)
SKEWED = 1 / RNG.integers(1, 60, 150)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("statistic", [None, np.median], ids=["mean", "median"])
def test_intervals_are_those_of_scipy(method, statistic):
    found = bootstrap_interval(SKEWED, method=method, statistic=statistic, resamples=4000)
    wanted = stats.bootstrap(
        (SKEWED,),
        statistic or np.mean,
        method={"bca": "BCa"}.get(method, method),
        n_resamples=4000,
        confidence_level=1 - 2 * stats.norm.cdf(expanded(np.array([0.025]), len(SKEWED))[0]),
        rng=1,
    ).confidence_interval
    assert found.estimate == pytest.approx((statistic or np.mean)(SKEWED))
    # Both draw, so they agree to what a percentile of 4000 draws varies by.
    width = wanted.high - wanted.low
    assert found.low == pytest.approx(wanted.low, abs=0.06 * width)
    assert found.high == pytest.approx(wanted.high, abs=0.06 * width)


@pytest.mark.parametrize("method", ["bca", "percentile", "centred"])
def test_a_mean_is_drawn_as_any_other_statistic_is(method):
    """The mean has its own way, by kinds of units; with groups of several sizes too."""
    groups = np.repeat(np.arange(40), RNG.integers(1, 8, 40))
    values = RNG.exponential(size=len(groups)) + groups % 3
    some = {"groups": groups, "method": method, "resamples": 4000}
    fast = bootstrap_interval(values, **some)
    slow = bootstrap_interval(values, statistic=np.mean, **some)
    assert fast.estimate == pytest.approx(slow.estimate)
    assert [fast.low, fast.high] == pytest.approx([slow.low, slow.high], rel=0.03)


@pytest.mark.parametrize("method", ["bca", "percentile", "centred"])
def test_95_percent_intervals_hold_the_truth_about_95_times_of_100(method):
    rng = np.random.default_rng(1)
    within = 0
    for repetition in range(400):
        hits = np.where(rng.random(80) < 0.8, 1.0, 0.0)
        found = bootstrap_interval(hits, method=method, resamples=500, seed=repetition)
        within += found.low <= 0.8 <= found.high
    assert 0.90 <= within / 400 <= 0.98


def test_another_seed_draws_others():
    intervals = [bootstrap_interval(SKEWED, resamples=200, seed=seed) for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_levels_are_those_of_the_t_interval():
    """Where draws were normal, with the variance that they have, their percentiles are its ends."""
    values = np.random.default_rng(3).normal(size=9)
    ends = values.mean() + expanded(np.array([0.05, 0.95]), 9) * values.std() / 3
    wanted = stats.t.interval(0.9, 8, values.mean(), stats.sem(values))
    np.testing.assert_allclose(ends, wanted)


def test_the_highest_levels_of_few_units_reach_to_the_ends():
    """BCa's formula has a pole, on whose other side the upper end would be below the lower."""
    values = np.array([0.0, 0.0, 0.1, 5.0])
    found = bootstrap_interval(values, level=0.999, resamples=5000)
    assert found.low < found.estimate < found.high == 5


def test_groups_are_drawn_together():
    rng = np.random.default_rng(2)
    within = {"grouped": 0, "single": 0}
    for repetition in range(200):
        groups = np.repeat(np.arange(30), 5)
        values = np.repeat(rng.normal(size=30), 5) + 0.3 * rng.normal(size=150)
        for name, given_groups in (("grouped", groups), ("single", None)):
            found = bootstrap_interval(values, groups=given_groups, resamples=300, seed=repetition)
            within[name] += found.low <= 0 <= found.high
    assert 0.90 <= within["grouped"] / 200 <= 0.98
    assert within["single"] / 200 < 0.75


def test_what_does_not_vary_has_a_point():
    for statistic in (None, np.median):
        found = bootstrap_interval(np.full(7, 0.3), statistic=statistic, resamples=50)
        assert [found.estimate, found.low, found.high] == pytest.approx([0.3] * 3)
    one = bootstrap_interval(np.array([3.0]))
    assert one.estimate == 3 and math.isnan(one.low) and math.isnan(one.high)
    one_group = bootstrap_interval(np.arange(4.0), groups=np.zeros(4), statistic=np.max)
    assert one_group.estimate == 3 and math.isnan(one_group.high)
    assert one.to_json() == {"estimate": 3.0, "low": None, "high": None}
    # The largest value is never exceeded, and most draws have it.
    assert bootstrap_interval(np.arange(9.0), statistic=np.max, resamples=200).high == 8


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=12), st.integers(0, 3))
def test_intervals_move_and_turn_with_the_values(values, seed):
    values = np.array(values, np.float64)
    found = bootstrap_interval(values, resamples=200, seed=seed)
    assert values.min() <= found.low <= found.high <= values.max()
    for unit in (2.0, 1e-9):
        moved = bootstrap_interval(unit * (values + 1), resamples=200, seed=seed)
        ends = [moved.low / unit, moved.high / unit]
        assert ends == pytest.approx([found.low + 1, found.high + 1])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "got none, expected at least one query"),
        ([1.0, math.nan], {}, "1 of 2 are NaN or infinite, the first is number 1; leave out"),
        ([[1.0, 2.0]], {}, r"got shape \(1, 2\), expected one value per query"),
        ([1.0, 2.0], {"groups": np.arange(3)}, r"shape \(3,\), expected \(2,\)"),
        ([1.0, 2.0], {"method": "t"}, "got 't', expected one of bca, percentile"),
        ([1.0, 2.0], {"level": 95}, "got 95, expected a number between 0 and 1"),
        ([1.0, 2.0], {"resamples": 0}, "got 0, expected at least 1"),
        ([1.0, 2.0], {"statistic": lambda x: math.nan}, "NaN for the given values"),
    ],
)
def test_bad_inputs_are_named(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval.__wrapped__(np.array(values), **options)


def figure(values):
    """The mean over tasks of the mean over queries."""
    return np.nanmean(np.nanmean(values, axis=-1), axis=-1)


def test_units_have_the_figure_as_their_mean():
    values = RNG.random((3, 4, 50))
    values[:, RNG.random((4, 50)) < 0.3] = math.nan
    values[:, 2] = math.nan  # a task without a query
    groups = RNG.integers(0, 17, 50)
    for labels in (None, groups, groups.astype(str)):
        units = unit_values(values, labels)
        shares = unit_shares(values, labels)
        for each in (units, shares):
            np.testing.assert_allclose(each.mean(1), figure(values[:, [0, 1, 3]]))
        assert not np.allclose(units, shares)
    complete = RNG.random((2, 3, 12))
    pairs = np.arange(12) % 6
    by_pair = (complete[..., :6] + complete[..., 6:]) / 2
    np.testing.assert_allclose(unit_values(complete, pairs), by_pair.mean(1))
    np.testing.assert_allclose(unit_shares(complete, pairs), by_pair.mean(1))


def test_shares_differ_where_values_do():
    first, second = (RNG.random((1, 3, 30)) for _ in range(2))
    groups = RNG.integers(0, 5, 30)
    alike = groups < 3
    second[..., alike] = first[..., alike]
    away = unit_shares(first, groups) - unit_shares(second, groups)
    assert (away[0, :3] == 0).all() and (away[0, 3:] != 0).all()
    np.testing.assert_allclose(away, unit_shares(first - second, groups), atol=1e-15)


def test_a_unit_counts_by_what_the_figure_is_without_it():
    """Its number is the figure plus its influence, which the jackknife measures."""
    values = RNG.random((2, 60))
    values[RNG.random((2, 60)) < 0.4] = math.nan
    asked = ~np.isnan(values).all(0)
    units = unit_values(values)
    assert len(units) == asked.sum()
    without = np.array([figure(np.delete(values, i, 1)) for i in np.flatnonzero(asked)])
    jackknife = (len(units) - 1) * (figure(values) - without)
    np.testing.assert_allclose(units - figure(values), jackknife, atol=0.15)
    assert np.corrcoef(units, jackknife)[0, 1] > 0.999


def test_units_that_all_hit_do_not_vary_however_many_queries_they_are():
    """What a plain sum over tasks would get wrong: more queries are no more hits in a mean."""
    hits = np.where(RNG.random((3, 40)) < 0.5, 1.0, math.nan)
    np.testing.assert_allclose(unit_values(hits), 1)


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (np.full((2, 3), math.nan), None, r"no query in shape \(2, 3\)"),
        (np.ones((2, 0)), None, "no query"),
        (np.ones(3), None, r"got shape \(3,\), expected \[tasks, examples\]"),
        (np.full((1, 2), math.inf), None, "infinite"),
        (np.ones((1, 2)), np.arange(3), r"shape \(3,\), expected \(2,\)"),
        (
            np.array([[[1.0, 1.0]], [[1.0, math.nan]]]),
            None,
            "different places under different seeds",
        ),
    ],
)
def test_what_has_no_units(values, groups, message):
    with pytest.raises(ValueError, match=message):
        unit_values.__wrapped__(values, groups)

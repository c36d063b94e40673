import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from gramalign.evaluation import (
    bootstrap_interval,
    crossed_test,
    holm,
    paired_difference,
    ranking,
    sign_flip_test,
)

RNG = np.random.default_rng(0)


def all_flips(differences):
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return np.mean(sums >= abs(differences.sum()) - 1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10), st.sampled_from([1.0, 0.1, 1e-7]))
def test_flips_are_exact_with_ties_and_zeros(values, scale):
    differences = np.array(values) * scale
    assert sign_flip_test(differences) == pytest.approx(all_flips(np.array(values)))


def test_flips_are_exact_without_ties():
    differences = RNG.normal(size=11) + 0.4
    wanted = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=math.inf, vectorized=True
    )
    assert sign_flip_test(differences) == pytest.approx(all_flips(differences))
    assert sign_flip_test(differences) == pytest.approx(wanted.pvalue)


def test_of_hits_it_is_mcnemars_exact_test_however_many_queries():
    first, second = (RNG.random((2, 3000)) < np.array([[0.62], [0.6]])).astype(float)
    ahead, behind = np.sum(first > second), np.sum(first < second)
    wanted = stats.binomtest(ahead, ahead + behind).pvalue
    assert sign_flip_test(first - second) == pytest.approx(wanted)
    many = np.repeat([0.3, -0.3, 0.0], [20_000, 15_000, 1000])
    assert sign_flip_test(many) == pytest.approx(7.9e-158, rel=0.01)


def test_of_many_sizes_flips_are_drawn():
    differences = RNG.normal(size=500) + 0.1
    found = sign_flip_test(differences, resamples=4000)
    wanted = stats.ttest_1samp(differences, 0).pvalue  # nearly so, at this size
    assert found == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 4000) + 0.002)
    assert found == sign_flip_test(-differences, resamples=4000)
    # Never 0: the data are one of the flips.
    assert sign_flip_test(np.abs(differences) + 1, resamples=99) == 1 / 100


@pytest.mark.parametrize("draw", ["hits", "any size"])
def test_under_no_difference_1_of_20_tests_says_there_is_one(draw):
    rng = np.random.default_rng(3)
    p_values = []
    for repetition in range(250):
        if draw == "hits":
            differences = np.subtract(*(rng.random((2, 60)) < 0.6).astype(float))
        else:
            differences = rng.laplace(size=24)
        p_values.append(sign_flip_test(differences, resamples=99, seed=repetition))
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_the_crossed_test_is_of_seeds_and_queries_both():
    """No difference but by chance: of queries, of seeds, or of both; tests of one see too much."""
    rng = np.random.default_rng(4)
    said = {"crossed": [], "queries": []}
    for by_seed in (0.0, 0.1, 0.5):
        crossed, queries = [], []
        for _ in range(300):
            differences = (
                by_seed * rng.normal(size=(5, 1))
                + rng.normal(size=(1, 100))
                + rng.normal(size=(5, 100))
            )
            crossed.append(crossed_test(differences).p_value <= 0.05)
            queries.append(stats.ttest_1samp(differences.mean(0), 0).pvalue <= 0.05)
        said["crossed"].append(np.mean(crossed))
        said["queries"].append(np.mean(queries))
    assert 0.01 <= min(said["crossed"]) and max(said["crossed"]) <= 0.08
    assert said["queries"][2] > 0.3


def test_the_crossed_test_by_hand():
    # Means 2, 4 of seeds and 1, 3, 5 of units, and nothing left: MS of seeds is 3 * 2 = 6 and of
    # units 2 * 4 = 8; the variance of the mean is (6 + 8) / 6, on (6 + 8)^2 / (6^2 / 1 + 8^2 / 2)
    # degrees of freedom.
    differences = np.array([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]])
    found = crossed_test(differences)
    t, freedom = 3 / math.sqrt(14 / 6), 14**2 / (36 + 32)
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, freedom))
    assert (found.low + found.high) / 2 == pytest.approx(3)
    half_width = stats.t.ppf(0.975, freedom) * math.sqrt(14 / 6)
    assert found.high - 3 == pytest.approx(half_width)


def test_the_crossed_test_by_least_squares():
    """Mean squares are what a factor explains, and a part of the residuals is in both of them."""
    rng, seeds, units = np.random.default_rng(7), 3, 4
    seed, unit = (each.ravel() for each in np.indices((seeds, units)))
    values = 2 * rng.normal(size=seeds)[seed] + 2 * rng.normal(size=units)[unit] + 1.0
    values += rng.normal(size=seeds * units)

    def left(*factors):
        design = np.hstack([np.eye(of.max() + 1)[of] for of in factors])
        return np.sum((values - design @ np.linalg.lstsq(design, values)[0]) ** 2)

    of_seed = (left(unit) - left(seed, unit)) / (seeds - 1)
    of_unit = (left(seed) - left(seed, unit)) / (units - 1)
    of_both = left(seed, unit) / ((seeds - 1) * (units - 1))
    square = of_seed + of_unit - of_both
    assert of_both < min(of_seed, of_unit), "no part is estimated to be negative"
    t = values.mean() / math.sqrt(square / (seeds * units))
    freedom = square**2 / (of_seed**2 / (seeds - 1) + of_unit**2 / (units - 1))
    found = crossed_test(values.reshape(seeds, units))
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(t), freedom))


def test_where_nothing_varies_the_crossed_test_knows():
    same = crossed_test(np.zeros((2, 3)))
    assert (same.low, same.high, same.p_value) == (0, 0, 1)
    always = crossed_test(np.full((3, 4), 0.1))
    assert always.p_value == 0 and always.low == always.high == pytest.approx(0.1)
    # Models that no seed changes: what varies is queries alone, as in a t test of these.
    row = RNG.normal(size=8)
    found = crossed_test(np.tile(row, (3, 1)))
    assert found.p_value == pytest.approx(stats.ttest_1samp(row, 0).pvalue)


@pytest.mark.parametrize("units", [3, 5, 20])
def test_few_units_are_no_more_sure_than_they_can_be(units):
    """Such as the groups of few videos; with seeds that hardly differ."""
    rng = np.random.default_rng(units)
    wrong = []
    for _ in range(600):
        differences = (
            0.1 * rng.normal(size=(5, 1))
            + rng.normal(size=(1, units))
            + 0.3 * rng.normal(size=(5, units))
        )
        wrong.append(crossed_test(differences).p_value <= 0.05)
    assert np.mean(wrong) <= 0.08


def test_two_methods_over_queries_and_over_both():
    queries = RNG.random(80)
    first = queries + 0.02 * RNG.normal(size=(4, 80)) + 0.05 + 0.04 * RNG.normal(size=(4, 1))
    second = queries + 0.02 * RNG.normal(size=(4, 80))
    found = paired_difference(first, second, resamples=2000)
    by_unit = (first - second).mean(0)
    interval = bootstrap_interval(by_unit, resamples=2000)
    assert found.difference == pytest.approx(by_unit.mean())
    assert (found.over_queries.low, found.over_queries.high) == (interval.low, interval.high)
    assert found.over_queries.p_value == sign_flip_test(by_unit, resamples=2000) == 1 / 2001
    assert found.over_both == crossed_test(first - second)
    assert found.over_both.p_value > 0.01 > found.over_queries.p_value
    back = paired_difference(second, first, resamples=2000)
    assert back.difference == pytest.approx(-found.difference)
    assert back.over_both.p_value == pytest.approx(found.over_both.p_value)
    assert found.to_json()["over_both"]["p_value"] == found.over_both.p_value
    few = (first - second)[:2, :2]  # the fewest that say anything of both
    assert paired_difference(few, np.zeros((1, 2))).over_both == crossed_test(few)


def test_a_method_without_seeds_stands_against_each():
    seeds, fixed = RNG.random((3, 20)), RNG.random((1, 20))
    assert paired_difference(seeds, fixed, resamples=99) == paired_difference(
        seeds, np.tile(fixed, (3, 1)), resamples=99
    )
    one = paired_difference(seeds[:1], fixed, resamples=99)
    assert one.over_both == one.over_queries


def test_equal_methods_and_a_single_query():
    values = RNG.random((2, 9))
    equal = paired_difference(values, values)
    assert equal.difference == 0
    assert (equal.over_both.low, equal.over_both.high, equal.over_both.p_value) == (0, 0, 1)
    assert (equal.over_queries.low, equal.over_queries.p_value) == (0, 1)
    single = paired_difference(np.array([[1.0], [0.0]]), np.array([[0.0], [0.0]]))
    assert single.difference == 0.5 and single.over_queries.p_value == 1
    assert math.isnan(single.over_both.low)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_difference.__wrapped__(np.ones((2, 3)), np.ones((2, 4))), "same queries"),
        (lambda: paired_difference.__wrapped__(np.ones((2, 3)), np.ones((3, 3))), "same seeds"),
        (lambda: paired_difference.__wrapped__(np.ones((0, 3)), np.ones((0, 3))), "same seeds"),
        (lambda: paired_difference(np.ones((1, 0)), np.ones((1, 0))), "at least one query"),
        (lambda: paired_difference(np.full((1, 2), math.nan), np.ones((1, 2))), "2 of 2 are NaN"),
        (lambda: sign_flip_test(np.array([])), "got 0 with 0 NaN"),
        (lambda: sign_flip_test(np.array([1.0, math.nan])), "got 2 with 1 NaN"),
        (
            lambda: crossed_test(np.ones((1, 5))),
            "1 seed and 5 units, expected at least two of each",
        ),
        (
            lambda: crossed_test.__wrapped__(np.ones(5)),
            "1 seed and 5 units, expected at least two",
        ),
        (
            lambda: paired_difference.__wrapped__(np.ones(3), np.ones(3)),
            r"for one seed give values\[None\]",
        ),
        (lambda: holm(np.array([0.5, 1.5])), r"expected numbers in \[0, 1\]"),
        (
            lambda: holm(np.array([0.5, 0.5]), family=1),
            "got 1, expected at least the number of tests, 2",
        ),
        (lambda: ranking({}), "expected the same queries"),
        (lambda: ranking.__wrapped__({"a": np.ones((2, 3)), "b": np.ones((2, 4))}), "same queries"),
        (lambda: ranking.__wrapped__({"a": np.ones((2, 3)), "b": np.ones((3, 3))}), "same seeds"),
        (lambda: ranking({"a": np.ones((1, 0))}), "same queries"),
        (lambda: ranking({"a": np.array([[math.nan]])}), r"values\['a'\]: got NaN"),
    ],
)
def test_bad_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, none below the last.
    found = holm(np.array([0.04, 0.01, math.nan, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, math.nan, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.01, 0.02]), family=6), [0.06, 0.10])
    assert holm(np.array([])).shape == (0,)


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    found = holm(p_values)
    assert (found >= p_values).all() and (found <= 1).all()
    assert (found <= np.minimum(1, len(p_values) * p_values) + 1e-15).all()
    assert found.min() == pytest.approx(min(1, len(p_values) * p_values.min()))
    assert (np.diff(found[np.argsort(p_values, kind="stable")]) >= 0).all()
    turned = holm(p_values[::-1])[::-1]
    np.testing.assert_allclose(turned, found)


def test_the_best_of_equal_methods_is_seldom_told_from_the_others():
    """It was picked for being ahead; counting all pairs it was picked from makes up for that."""
    rng = np.random.default_rng(5)
    few, all_pairs = [], []
    for _ in range(300):
        means = rng.normal(size=8)
        away = (means.max() - means[means != means.max()]) / math.sqrt(2)
        p_values = 2 * stats.norm.sf(away)
        few.append(holm(p_values).min() <= 0.05)
        all_pairs.append(holm(p_values, family=28).min() <= 0.05)
    assert np.mean(all_pairs) <= 0.07 < np.mean(few)


def test_ranks_and_how_sure_they_are():
    queries = RNG.normal(size=100)
    noisy = {
        name: queries + mean + 0.1 * RNG.normal(size=(5, 100))
        for name, mean in (("second", 0.50), ("first", 0.502), ("last", 0.0))
    }
    found = ranking(noisy)
    assert list(found) == ["second", "first", "last"]
    assert found["last"] == ranking(noisy)["last"] and str(found["last"]) == "3"
    assert {found["first"].rank, found["second"].rank} == {1, 2}
    for name in ("first", "second"):
        assert (found[name].low, found[name].high) == (1, 2)
    assert str(found["first"]).endswith("(1-2)")
    assert found["first"].to_json() == {"rank": found["first"].rank, "low": 1, "high": 2}


def test_seeds_make_ranks_unsure_too():
    """One wins with every query under two seeds of three, and loses with every one under one."""
    first, second = np.repeat([[1.0], [1.0], [0.0]], 50, 1), np.full((1, 50), 0.5)
    found = ranking({"first": first, "second": second})
    assert (found["first"].rank, found["first"].low, found["first"].high) == (1, 1, 2)


def test_equal_methods_share_the_better_place():
    row = RNG.random((2, 7))
    found = ranking({"a": row, "b": row[::-1], "c": row - 1, "alone": row - 2})
    assert [x.rank for x in found.values()] == [1, 1, 3, 4]
    one = ranking({"a": row})["a"]
    assert (one.rank, one.low, one.high) == (1, 1, 1)

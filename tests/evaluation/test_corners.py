"""What a slip in the code would change, and nothing else that is tested here."""

import math

import numpy as np
import pytest
from scipy import stats

from gramalign.evaluation import (
    bootstrap_interval,
    checked,
    crossed_test,
    retrieve_by_label,
    robustness,
)
from tests import samples


def test_seeds_that_differ_less_than_chance_make_nothing_surer():
    # Seeds have the same mean, so that MS of seeds is 0, of units 2 * 2 and of the rest 1 * 18.
    differences = np.array([[0.0, 4.0, 2.0], [4.0, 2.0, 0.0]])
    found = crossed_test(differences)
    unit_square = 2 * np.sum((differences.mean(0) - 2) ** 2) / 2
    error = math.sqrt(unit_square / 6)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 / error, 2))


def test_queries_that_differ_less_than_chance_take_nothing_from_seeds():
    # Unit means are all alike: the variance is that of seeds.
    differences = np.array([[0.0, 2.0, 1.0], [4.0, 2.0, 3.0]])
    assert np.ptp(differences.mean(0)) == 0
    found = crossed_test(differences)
    seed_square = 3 * np.sum((differences.mean(1) - 2) ** 2)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 / math.sqrt(seed_square / 6), 1))


def test_draws_that_equal_the_figure_are_half_below_it():
    # Of 20 fair coins 1.6 % of the draws are below 0.25, or above 0.75; their bias is none.
    found = bootstrap_interval(np.repeat([0.0, 1.0], 10), resamples=4000)
    assert (found.low, found.high) == (0.25, 0.75)


def test_a_figure_that_all_draws_exceed_has_an_interval():
    found = bootstrap_interval(
        np.arange(30.0), statistic=lambda x: -float(len(np.unique(x))), resamples=200
    )
    assert found.estimate == -30 and -30 < found.low <= found.high


def test_a_centred_interval_holds_the_figure():
    rng = np.random.default_rng(0)
    for seed in range(50):
        values = rng.exponential(size=6) ** 3
        found = bootstrap_interval(
            values,
            method="centred",
            statistic=lambda x: float(np.ptp(x)),
            level=0.05,
            resamples=100,
            seed=seed,
        )
        assert found.low <= found.estimate <= found.high


def test_a_query_without_a_right_answer_does_not_count():
    rows = np.eye(4, dtype=np.float32)
    data = checked({"a": rows, "b": rows}, {"b": np.array([True, True, True, False])})
    found = retrieve_by_label(data, np.array([0, 1, 0, 2]), ("a",), ("b",), "cosine")
    assert (found.queries, found.candidates) == (3, 3)
    assert found.right == pytest.approx(5 / 3)
    assert found.mean_reciprocal_rank == 1


def test_noise_befalls_its_modalities_and_the_rows_that_have_them():
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, 12, 4, ("a", "b", "c"))
    data = checked(embeddings, {"a": np.arange(12) > 2})
    seen, asked = [], []

    def embed(features, present):
        seen.append(
            {m: not np.array_equal(x, np.float32(data.embeddings[m])) for m, x in features.items()}
        )
        asked.append(all((present[m] == data.present[m]).all() for m in data.modalities))
        return features

    robustness(data, "cosine", curves=("noise",), repeats=1, features=data.embeddings, embed=embed)
    assert all(asked)
    everyone, *alone = np.array([list(x.values()) for x in seen]).reshape(4, 6, 3)[:, 1:]
    assert everyone.all()
    for place, curve in enumerate(alone):
        np.testing.assert_array_equal(curve, np.tile(np.arange(3) == place, (5, 1)))


def test_groups_stay_where_modalities_are_lost():
    from gramalign.evaluation import retrieval_figures

    rng = np.random.default_rng(0)
    data = checked(samples.embeddings(rng, 12, 4, ("a", "b")), None, np.arange(12) // 3)
    (curve,) = robustness(data, "cosine", curves=("missing",), repeats=1).curves
    chance = np.mean([x.chance[1] for x in retrieval_figures(data, "cosine")])
    assert curve.points[0].figures["pair chance R@1"].mean == pytest.approx(chance)


def test_noise_is_in_units_of_the_rows_that_are_there():
    rng = np.random.default_rng(0)
    data = checked(samples.embeddings(rng, 12, 4, ("a", "b")), {"a": np.arange(12) > 2})
    features = {
        m: np.where(there[:, None], data.embeddings[m], 1e6) for m, there in data.present.items()
    }
    largest = []

    def embed(noisy, present):
        largest.append(np.abs(noisy["a"][present["a"]]).max())
        return noisy

    robustness(data, "cosine", curves=("noise",), repeats=1, features=features, embed=embed)
    assert max(largest) < 100

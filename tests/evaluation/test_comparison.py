import dataclasses
import json
import math

import numpy as np
import pytest

from gramalign.evaluation import (
    bootstrap_interval,
    compare,
    evaluate,
    holm,
    interval,
    mean_grid,
    paired_difference,
    rank_grid,
    ranking,
    to_rich,
    to_text,
    unit_values,
)
from tests import samples
from tests.evaluation.test_tables import evaluation_of

PAIRS, TUPLES = "pair R@1, cosine", "rest -> one R@1, volume"


def hits(share, seed, *, spared=0, examples=60):
    """Of two tasks: 100 for a share of the examples, another under each seed but for chance."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).random((2, examples))  # the same for all
    found = np.where(0.7 * hard + 0.3 * rng.random((2, examples)) < share, 100.0, 0.0)
    found[:, :spared] = math.nan
    return found


SEEDS = {
    "gram": [{PAIRS: hits(0.3, s), TUPLES: hits(0.9, s + 10)} for s in (1, 2, 3)],
    "clip": [{PAIRS: hits(0.8, s), TUPLES: hits(0.88, s + 20)} for s in (4, 5, 6)],
    "linear GCCA": [{PAIRS: hits(0.2, 7)}],
}


def test_t_intervals_against_the_printed_table():
    # Student's t at 97.5 %: 4.303 for 2 degrees of freedom, 12.706 for 1.
    assert interval([84.0, 85.0, 86.0]).half_width == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert interval([88.0, 90.0]).half_width == pytest.approx(12.706, rel=1e-3)


def test_one_seed_has_no_interval_and_none_no_mean():
    one = interval([32.0, math.nan])
    assert (one.mean, one.seeds, str(one)) == (32, 1, "32.0")
    assert one.to_json() == {"mean": 32.0, "half_width": None, "seeds": 1}
    assert str(interval([])) == "n/a"


def test_every_figure_is_what_its_parts_say():
    told = []
    compared = compare(SEEDS, resamples=500, say=told.append)
    assert told == [f"testing differences: {x}" for x in (f"{PAIRS}, 1 of 2", f"{TUPLES}, 2 of 2")]
    values = {
        name: unit_values(np.stack([each[PAIRS] for each in of_seeds]))
        for name, of_seeds in SEEDS.items()
    }
    assert compared.best == {PAIRS: "clip", TUPLES: "gram"}
    ranks = ranking(values)
    for name, of_seeds in SEEDS.items():
        found = compared.figures[name][PAIRS]
        over_seeds = interval([float(each[PAIRS].mean()) for each in of_seeds])
        assert found.over_seeds.to_json() == over_seeds.to_json()  # NaN equals nothing
        by_query = bootstrap_interval(values[name].mean(0), resamples=500)
        assert found.over_queries == by_query
        assert found.rank == ranks[name]
    others = ["gram", "linear GCCA"]
    differences = [paired_difference(values[x], values["clip"], resamples=500) for x in others]
    assert [compared.figures[x][PAIRS].from_best for x in others] == differences
    corrected = holm(np.array([x.over_both.p_value for x in differences]), family=3)
    assert [compared.figures[x][PAIRS].p_corrected for x in others] == corrected.tolist()
    best = compared.figures["clip"][PAIRS]
    assert best.from_best is None and math.isnan(best.p_corrected) and not best.may_be_best
    assert not compared.figures["gram"][PAIRS].may_be_best  # 0.3 and 0.8 are far apart
    assert compared.figures["clip"][TUPLES].may_be_best  # 0.9 and 0.88 are not


def test_a_figure_that_an_objective_lacks_is_left_out():
    missing = compare(SEEDS, resamples=50).figures["linear GCCA"][TUPLES]
    assert str(missing.over_seeds) == "n/a" and missing.rank is None and missing.from_best is None
    assert math.isnan(missing.over_queries.low) and math.isnan(missing.p_corrected)
    # Under one of the seeds is as good as under none.
    partly = {"gram": SEEDS["gram"], "clip": [*SEEDS["clip"][:2], {PAIRS: hits(0.8, 6)}]}
    assert str(compare(partly, resamples=50).figures["clip"][TUPLES].over_seeds) == "n/a"


def test_only_those_that_were_asked_the_same_are_tested_and_ranked():
    results = {
        "fewer": [{PAIRS: hits(0.99, 1, spared=9)}],
        "a": [{PAIRS: hits(0.5, 2)}],
        "b": [{PAIRS: hits(0.4, 3)}],
        "none": [{PAIRS: np.full((2, 60), math.nan)}],
    }
    compared = compare(results, resamples=50)
    assert compared.best == {PAIRS: "a"}
    ranks = {name: row[PAIRS].rank for name, row in compared.figures.items()}
    assert ranks["fewer"] is None and ranks["none"] is None
    assert (ranks["a"].rank, ranks["b"].rank) == (1, 2)
    assert compared.figures["fewer"][PAIRS].over_seeds.mean > 90
    rows = to_text(to_rich(rank_grid(compared))).splitlines()
    assert next(row for row in rows if row.startswith("fewer")).split() == ["fewer", "1", "n/a"]
    alone = compare({"a": results["a"]}, resamples=50)
    assert alone.best == {} and alone.figures["a"][PAIRS].rank.rank == 1
    assert "best" not in mean_grid(alone).caption
    assert "n/a among ranks" in mean_grid(compared).caption
    assert "n/a" not in mean_grid(alone).caption


def test_captions_speak_of_seeds_where_there_are_several():
    results = {name: [{PAIRS: hits(0.5, 0)}] for name in "ab"}
    captions = [each(compare(results)).caption for each in (mean_grid, rank_grid)]
    assert "seeds" not in " ".join(captions) and "over queries" in captions[0]
    several = {name: 2 * each for name, each in results.items()}
    captions = [each(compare(several)).caption for each in (mean_grid, rank_grid)]
    assert all("over queries and seeds" in each for each in captions)
    assert "over seeds, which is wide with two: with three" in captions[0]
    assert "wide" not in mean_grid(compare(SEEDS)).caption


def test_examples_of_one_group_are_one_unit():
    # Both find ten examples of ten groups, and one finds ten of one other group besides.
    groups = np.concatenate([np.arange(10), np.full(10, 10)])
    first, second = np.full((1, 20), 100.0), np.full((1, 20), 100.0)
    second[:, 10:] = 0
    results = {"first": [{PAIRS: first}], "second": [{PAIRS: second}]}
    single = compare(results).figures["second"][PAIRS]
    grouped = compare(results, groups=groups).figures["second"][PAIRS]
    assert single.over_seeds.to_json() == grouped.over_seeds.to_json()
    assert grouped.over_queries == bootstrap_interval(unit_values(second, groups))
    assert single.p_corrected == pytest.approx(2 / 2**10)
    assert grouped.p_corrected == 1  # one group differs, and might have done so the other way


def test_the_record_is_plain_and_has_the_mean_first():
    record = json.loads(json.dumps(compare(SEEDS, resamples=50).to_json(), allow_nan=False))
    gram = record["figures"]["gram"][PAIRS]
    assert list(gram)[:3] == ["mean", "half_width", "seeds"] and gram["seeds"] == 3
    assert set(gram) >= {"over_queries", "rank", "from_best", "p_corrected"}
    assert record["best"][PAIRS] == "clip"
    assert record["figures"]["clip"][PAIRS]["from_best"] is None


def test_the_tables_mark_the_best_mean_and_what_may_be_best():
    compared = compare(SEEDS, resamples=200)
    rows = to_text(to_rich(mean_grid(compared))).splitlines()
    row = {name: next(line for line in rows if line.startswith(name)) for name in SEEDS}
    pairs, tuples = (str(compared.figures["clip"][name].over_seeds) for name in (PAIRS, TUPLES))
    assert row["clip"].split() == ["clip", "3", *f"{pairs}* {tuples}~".split()]
    assert row["gram"].rstrip().endswith("*") and "~" not in row["gram"]
    assert row["linear GCCA"].split()[:3] == ["linear", "GCCA", "1"]
    assert row["linear GCCA"].split()[-1] == "n/a"
    assert max(map(len, rows)) <= 100
    ranks = rank_grid(compared, scores={"gram": "volume", "clip": "cosine"})
    assert ranks.columns[:3] == ("objective", "seeds", "own Score") and ranks.labels == 3
    assert [cell.text for cell in ranks.rows[1][:4]] == ["clip", "3", "cosine", "1"]
    assert ranks.rows[2][2].text == ""


def test_hits_are_what_the_summary_is_the_mean_of():
    rng = np.random.default_rng(1)

    def ranked(task):
        ranks = rng.integers(0, 4, 40)
        recall = {1: 100 * float(np.mean(ranks[ranks > 0] == 1))}
        return dataclasses.replace(task, ranks=ranks, recall=recall)

    made_up = evaluation_of()
    found = dataclasses.replace(made_up, retrieval=tuple(map(ranked, made_up.retrieval)))
    for own in (False, True):
        summary, values = found.summary(own=own), found.summary_hits(own=own)
        assert list(values) == list(summary)
        for name, each in values.items():
            assert each.shape == (6 if name.startswith("pair") else 3, 40)
            assert np.nanmean(each, 1).mean() == pytest.approx(summary[name])
            assert unit_values(each).mean() == pytest.approx(summary[name])
    with pytest.raises(ValueError, match="from a record, which does not keep ranks; evaluate"):
        made_up.summary_hits()


def test_a_pair_is_tested_once():
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, 20, 8, ("text", "audio"))
    found = evaluate(embeddings, score="volume", neighbours=False)
    hits, means = found.summary_hits(), found.summary()
    assert list(hits) == ["pair R@1, cosine", "pair R@1, volume"]
    assert hits["pair R@1, volume"].mean() == pytest.approx(means["one -> rest R@1, volume"])
    assert list(found.summary_hits(own=True)) == ["pair R@1, cosine", "pair R@1, own"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "got"),
    [
        ([evaluation_of()], "Evaluation"),
        (evaluation_of(), "Evaluation"),
        (SEEDS["gram"][0], "dict"),
        (np.array(SEEDS["gram"]), "ndarray"),
        ([evaluation_of().summary()], "float"),
        ([{PAIRS: np.zeros(60)}], "ndarray"),
    ],
)
def test_what_is_compared_are_hits_of_each_seed(given, got):
    message = rf"results\['gram'\]: got {got}, expected a list .*summary_hits\(own=True\)\]"
    with pytest.raises(TypeError, match=message):
        compare({"gram": given})


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="got no objective.*evaluate one"):
        compare({})
    with pytest.raises(ValueError, match=r"'gram'\]: got no result.*at least one seed"):
        compare({"gram": []})
    with pytest.raises(ValueError, match=r"objectives with \[2, 3\] seeds, expected the same"):
        compare({"gram": SEEDS["gram"], "clip": SEEDS["clip"][:2]})
    fewer = {name: hits[:, 1:] for name, hits in SEEDS["gram"][1].items()}
    with pytest.raises(ValueError, match=r"'gram'\]: .* under different seeds.*on the same rows"):
        compare({"gram": [SEEDS["gram"][0], fewer, SEEDS["gram"][2]]})

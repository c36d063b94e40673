import math

import pytest

from gramalign.evaluation import compare, compare_table, interval, to_text

SEEDS = {
    "gram": [{"pair R@1, cosine": x, "rest -> one R@1, volume": x + 1} for x in (84.0, 85.0, 86.0)],
    "clip": [{"pair R@1, cosine": x, "rest -> one R@1, volume": x - 9} for x in (88.0, 90.0)],
    "linear GCCA": [{"pair R@1, cosine": 32.0}],
}


def test_t_intervals_against_the_printed_table():
    # Student's t at 97.5 %: 4.303 for 2 degrees of freedom, 12.706 for 1.
    assert interval([84.0, 85.0, 86.0]).half_width == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    compared = compare(SEEDS)
    clip = compared["clip"]["pair R@1, cosine"]
    assert (clip.mean, clip.seeds) == (89, 2)
    assert clip.half_width == pytest.approx(12.706, rel=1e-3)


def test_one_seed_has_no_interval_and_none_no_mean():
    one = interval([32.0, math.nan])
    assert (one.mean, one.seeds, str(one)) == (32, 1, "32.0")
    assert one.to_json() == {"mean": 32.0, "half_width": None, "seeds": 1}
    assert str(compare(SEEDS)["linear GCCA"]["rest -> one R@1, volume"]) == "n/a"


def test_the_table_marks_the_best_mean():
    rows = to_text(compare_table(SEEDS)).splitlines()
    row = {name: next(line for line in rows if line.startswith(name)) for name in SEEDS}
    assert row["gram"].split() == ["gram", "3", "85.0", "±", "2.5", "86.0", "±", "2.5*"]
    assert row["clip"].split() == ["clip", "2", "89.0", "±", "12.7*", "80.0", "±", "12.7"]
    assert row["linear GCCA"].split() == ["linear", "GCCA", "1", "32.0", "n/a"]
    assert max(map(len, rows)) <= 100


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="got no objective.*run one"):
        compare({})
    with pytest.raises(ValueError, match=r"'gram'\]: got no result.*at least one seed"):
        compare({"gram": []})

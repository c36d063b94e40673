"""What a run costs beside its step is measured, here of next to nothing."""

import pytest

from gramalign.benchmarks import tables, training
from gramalign.evaluation import to_text
from tests.compiled import kept_programs as kept_programs

TINY = training.Sizes(steps=150, saved=1000, rows=4000, many_rows=3000)


@pytest.mark.slow
def test_all_is_measured():
    said = []
    found = training.measure(1, said.append, TINY)
    loop = found["loop"]
    assert 0 < loop["step_seconds"] and 0 < loop["loop_seconds"]
    assert loop["overhead"] == 1 - loop["step_seconds"] / loop["loop_seconds"]
    assert [row["moments_each"] for row in found["save"]] == [0, 2]
    assert all(0 < row["blocking_seconds"] < row["seconds"] for row in found["save"])
    assert [row["batch"] for row in found["input"]] == [256, 1024]
    assert found["restart"]["rows"] == 3000
    shown = to_text(tables.tables({"training": found}))
    assert "the loop's part" in shown and "3,000 examples" in shown
    assert any("packing 4000 rows" in text for text in said)

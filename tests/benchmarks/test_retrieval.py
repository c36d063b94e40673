"""What retrieval costs is measured, here of next to nothing."""

import jax
import numpy as np
import pytest

from gramalign.benchmarks import report, retrieval, tables
from gramalign.contrast.engine import TILES
from gramalign.evaluation import checked, retrieve_both_ways, to_text

TINY = retrieval.Sizes(ranked=200, ranked_dim=16, volume=(300, 500), dim=16)


@pytest.mark.slow
def test_all_is_measured():
    found = retrieval.measure(1, lambda text: None, TINY)
    ranks, large = found["ranks"], found["large"]
    assert ranks["agree"] and ranks["ratio"] == ranks["peer_seconds"] / ranks["seconds"]
    assert (found["volume"]["examples"], large["examples"]) == (300, 500)
    for row in (found["volume"], large):
        assert row["over_products"] == row["seconds"] / row["products_seconds"] > 0
    assert 2**26 < large["peak_bytes"] < 2**31 and large["backend"] == "cpu"
    assert not report.problems({"retrieval": found})
    shown = to_text(tables.tables({"retrieval": found}), width=200)
    assert "500 x 500 by volume" in shown and "the same figures" in shown

    ranks["agree"] = False
    assert report.problems({"retrieval": found}) == [
        "retrieval: the figures differ from those found by sorting"
    ]
    assert "DIFFERENT FIGURES" in to_text(tables.tables({"retrieval": found}), width=200)


def test_a_size_that_tiles_do_not_divide(short_rounds, monkeypatch):
    monkeypatch.setitem(TILES, "cpu", 4)
    assert retrieval._ranks(11, 8, 1, lambda text: None)["agree"]


def test_the_new_process_computes_where_this_one_does(monkeypatch):
    assert retrieval._platforms() == "cpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert retrieval._platforms() == (jax.config.jax_platforms or "")
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert retrieval._platforms() == "cpu", "one process at a time"


def test_the_peer_finds_what_is_found_here():
    rng = np.random.default_rng(0)
    data = checked({name: rng.normal(size=(60, 8)) for name in ("a", "b")})
    found = retrieval.figures_by_sorting(data.embeddings["a"] @ data.embeddings["b"].T)
    for way, result in zip(
        ("forward", "backward"), retrieve_both_ways(data, ("a",), ("b",), "cosine"), strict=True
    ):
        assert found[f"{way} median"] == result.median_rank
        np.testing.assert_allclose(found[f"{way} R@5"], result.recall[5])

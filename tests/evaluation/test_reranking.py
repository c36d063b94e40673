import dataclasses

import numpy as np
import pytest

from gramalign.evaluation import checked, rerank, retrieve_both_ways
from gramalign.evaluation import reranking as module
from tests.evaluation.test_retrieval import EXAMPLES, random_embeddings

NAMES = ("text", "audio", "video", "depth")
SIDES = NAMES[:2], NAMES[2:]


def sample(with_groups=True, n=EXAMPLES):
    rng = np.random.default_rng(6)
    present = {name: rng.random(n) > 0.3 for name in NAMES}
    return checked(
        random_embeddings(rng, n, names=NAMES),
        present,
        rng.integers(0, 15, n) if with_groups else None,
    )


def both(data, sides, score, by, **options):
    raw, _ = retrieve_both_ways(data, *sides, score)
    return raw, rerank(data, raw, by, **options)


def test_by_another_score_of_all_is_that_score(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 5 * EXAMPLES * 16 * len(NAMES))  # five queries at a time
    data = sample()
    raw, found = both(data, SIDES, "cosine", "volume", top=EXAMPLES)
    assert found.score == "cosine, re-ranked by volume"
    assert raw.ranks.tolist() != found.ranks.tolist()
    expected, _ = retrieve_both_ways(data, *SIDES, "volume")
    np.testing.assert_array_equal(found.ranks, expected.ranks)
    assert (found.queries, found.candidates) == (expected.queries, expected.candidates)
    assert found.queries % 5, "the last are filled up"


def test_what_is_behind_the_candidates_stays_there():
    data = sample(with_groups=False)

    def at_random(queries, candidates):
        assert candidates.shape == (len(queries), 4)
        return np.random.default_rng(0).random(candidates.shape)

    raw, found = both(data, SIDES, "cosine", at_random, top=4, name="chance")
    assert found.score == "cosine, re-ranked by chance"
    inside = (raw.ranks > 0) & (raw.ranks <= 4)
    assert (raw.ranks != found.ranks).any() and inside.any() and not inside.all()
    np.testing.assert_array_equal(found.ranks[~inside], raw.ranks[~inside])
    assert (found.ranks[inside] <= 4).all()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_scores_that_tell_nothing_apart_put_the_match_last(value):
    data = sample(with_groups=False)

    def constant(queries, candidates):
        return np.full(candidates.shape, value)

    raw, found = both(data, (("text",), ("audio",)), "cosine", constant, top=4)
    inside = (raw.ranks > 0) & (raw.ranks <= 4)
    assert (found.ranks[inside] == 4).all() and found.score.endswith("by constant")


def test_refuses():
    data = sample()
    raw, _ = retrieve_both_ways(data, *SIDES, "cosine")
    with pytest.raises(ValueError, match="top: got 1"):
        rerank(data, raw, "volume", top=1)
    with pytest.raises(ValueError, match=r"wanted those of the candidates, \(\d+, 3\)"):
        rerank(data, raw, lambda queries, candidates: np.ones(3), top=3)
    for by in ("area", "fused"):
        with pytest.raises(ValueError, match=f"by: got '{by}', wanted one of cosine"):
            rerank(data, raw, by)
    with pytest.raises(ValueError, match="raw: got 'cosine, dual softmax'"):
        rerank(data, dataclasses.replace(raw, score="cosine, dual softmax"), "volume")
    for ranks in (None, raw.ranks[:3]):
        with pytest.raises(ValueError, match=f"each of {EXAMPLES} examples"):
            rerank(data, dataclasses.replace(raw, ranks=ranks), "volume")

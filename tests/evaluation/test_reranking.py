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


def oracle(queries, candidates):
    return (candidates == queries[:, None]).astype(float)


def both(data, sides, score, by, **options):
    raw, _ = retrieve_both_ways(data, *sides, score)
    return raw, rerank(data, raw, by, **options)


def test_by_another_score_of_all_is_that_score(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 5 * EXAMPLES * 16 * len(NAMES))  # five queries at a time
    data = sample()
    raw, found = both(data, SIDES, "cosine", "volume", top=EXAMPLES)
    assert found.score == f"cosine, top {EXAMPLES} re-ranked by volume"
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
    assert found.score == "cosine, top 4 re-ranked by chance"
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


def test_a_match_that_ties_with_all_is_not_among_the_first():
    data = checked({name: np.ones((20, 8)) for name in ("text", "audio")})
    raw, found = both(data, (("text",), ("audio",)), "cosine", oracle, top=5)
    assert (raw.ranks == 20).all() and (found.ranks == 20).all()


@pytest.mark.parametrize("score", ["cosine", "volume"])
def test_members_of_the_group_take_nobodys_place(score):
    rng = np.random.default_rng(0)
    groups = np.arange(60) // 20
    text = rng.normal(size=(3, 8))[groups] + 0.05 * rng.normal(size=(60, 8))
    data = checked({"text": text, "audio": text + rng.normal(size=(60, 8))}, groups=groups)
    raw, found = both(data, (("text",), ("audio",)), score, oracle, top=4)
    np.testing.assert_array_equal(found.ranks, np.where(raw.ranks <= 4, 1, raw.ranks))
    assert 5 < (raw.ranks <= 4).sum() < 60


def test_candidates_come_in_their_order_without_the_group():
    data, seen = sample(n=40), {}

    def noted(queries, candidates):
        seen.update(zip(queries.tolist(), candidates.tolist(), strict=True))
        return -np.broadcast_to(np.arange(6.0), candidates.shape)

    raw, found = both(data, (("text",), ("audio",)), "cosine", noted, top=6)
    np.testing.assert_array_equal(found.ranks, raw.ranks)
    cosines = data.embeddings["text"] @ data.embeddings["audio"].T
    for query, candidates in seen.items():
        rival = data.present["audio"] & (data.groups != data.groups[query])
        rival[query] = True
        expected = np.argsort(-np.where(rival, cosines[query], -np.inf), kind="stable")[:6]
        assert candidates == expected.tolist()


def test_what_is_held_does_not_grow_with_a_group(monkeypatch):
    held = []

    def noted(program, batch):
        held.append(on_devices(program, batch))
        return held[-1]

    on_devices = module.on_devices
    monkeypatch.setattr(module, "on_devices", noted)
    rng = np.random.default_rng(0)
    many = {name: rng.normal(size=(40, 8)) for name in ("text", "audio")}
    data = checked(many, groups=np.maximum(np.arange(40), 30))
    both(data, (("text",), ("audio",)), "cosine", oracle, top=4)
    assert [x.shape for (x,) in held] == [(40, 3)]


def test_a_row_of_zeros_is_no_rival():
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(10, 8))
    data = checked(
        {"text": audio + rng.normal(size=(10, 8)), "audio": audio * (np.arange(10) > 0)[:, None]}
    )
    raw, found = both(data, (("text",), ("audio",)), "volume", "volume", top=10)
    np.testing.assert_array_equal(found.ranks, raw.ranks)


def test_what_was_fused_is_re_ranked_too():
    data = sample(n=30)
    rest = {
        name: random_embeddings(np.random.default_rng(7), 30, names=[name])[name] for name in NAMES
    }
    data = checked(data.embeddings, data.present, data.groups, rest)
    raw, found = both(data, (NAMES[:1], NAMES[1:]), "fused", oracle, top=5)
    inside = (raw.ranks > 0) & (raw.ranks <= 5)
    np.testing.assert_array_equal(found.ranks, np.where(inside, 1, raw.ranks))
    assert found.score == "fused, top 5 re-ranked by oracle" and found.candidates == raw.candidates


def test_refuses():
    data = sample()
    raw, _ = retrieve_both_ways(data, *SIDES, "cosine")
    with pytest.raises(ValueError, match="top: got 1"):
        rerank(data, raw, "volume", top=1)
    with pytest.raises(ValueError, match=r"expected those of the candidates, \(\d+, 3\)"):
        rerank(data, raw, lambda queries, candidates: np.ones(3), top=3)
    for by in ("area", "fused"):
        with pytest.raises(ValueError, match=f"by: got '{by}', expected one of cosine"):
            rerank(data, raw, by)
    with pytest.raises(ValueError, match="raw: got 'cosine, dual softmax'"):
        rerank(data, dataclasses.replace(raw, score="cosine, dual softmax"), "volume")
    for ranks in (None, raw.ranks[:3]):
        with pytest.raises(ValueError, match=f"each of {EXAMPLES} examples"):
            rerank(data, dataclasses.replace(raw, ranks=ranks), "volume")

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from gramalign.evaluation import (
    SCORE_NAMES,
    checked,
    devices,
    evaluate,
    retrieval_figures,
    retrieve_both_ways,
    to_text,
)
from gramalign.evaluation.tables import tuple_table
from gramalign.scores import SCORES, Between
from tests import every_score

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("text", "audio", "video")
# Of every batch here, so that a Score is compiled once for pairs and once for tuples.
EXAMPLES, DIM = 32, 16


def random_embeddings(rng, examples=EXAMPLES, dim=DIM, names=NAMES):
    centre = rng.normal(size=(examples, dim))
    values = {name: centre + 1.2 * rng.normal(size=(examples, dim)) for name in names}
    return {
        name: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        for name, x in values.items()
    }


def dense_score(score, embeddings, present, row, others):
    """The whole score matrix in float64: every row against every tuple of columns."""
    names = (row, *others)
    return every_score.definition(score)(
        {name: embeddings[name].astype(np.float64) for name in names},
        {name: present[name] for name in names},
        row,
    )


def dense_figures(scores, is_query, in_gallery, groups):
    """The rules of the module's docstring, query by query."""
    places, sizes = [], []
    for i in np.flatnonzero(is_query & in_gallery):
        rivals = in_gallery & (groups != groups[i])
        places.append(1 + (scores[i, rivals] >= scores[i, i]).sum())
        sizes.append(1 + rivals.sum())
    places, sizes = np.array(places), np.array(sizes)
    return {
        "queries": len(places),
        "candidates": sizes.mean(),
        "median_rank": np.median(places),
        "mean_rank": places.mean(),
        "mean_reciprocal_rank": (1 / places).mean(),
        "recall": {k: 100 * (places <= k).mean() for k in (1, 5, 10)},
        "chance": {k: 100 * np.minimum(k / sizes, 1).mean() for k in (1, 5, 10)},
    }


@pytest.mark.parametrize(
    ("score", "whole"), [*((score, False) for score in SCORE_NAMES), ("volume", True)]
)
def test_equals_the_dense_float64_rule(score, whole):
    """With gaps and groups; and whole, without either."""
    rng = np.random.default_rng(3)
    embeddings = random_embeddings(rng)
    present = {name: rng.random(EXAMPLES) > (0 if whole else 0.3) for name in embeddings}
    groups = np.arange(EXAMPLES) if whole else rng.integers(0, 12, EXAMPLES)
    data = checked(embeddings, present, None if whole else groups)
    results = retrieval_figures(data, score)

    assert len({(result.query, result.gallery) for result in results}) == len(results) == 3 * 2 + 6
    for result in results:
        forward = len(result.query) == 1
        row, others = (
            (result.query[0], result.gallery) if forward else (result.gallery[0], result.query)
        )
        scores = dense_score(score, embeddings, present, row, others)
        sides = present[row], np.any([present[name] for name in others], axis=0)
        expected = (
            dense_figures(scores, *sides, groups)
            if forward
            else dense_figures(scores.T, *reversed(sides), groups)
        )
        for name, value in expected.items():
            assert getattr(result, name) == pytest.approx(value), (result, name)
        kept = result.ranks[result.ranks > 0]
        assert len(result.ranks) == EXAMPLES and len(kept) == result.queries
        assert kept.mean() == pytest.approx(result.mean_rank)


def test_ties_count_against_the_query_unless_they_share_its_group():
    # Every embedding occurs twice, exactly: each query ties with one wrong answer.
    doubled = np.repeat(np.eye(DIM, dtype=np.float32), 2, axis=0)
    embeddings = {"text": doubled, "audio": doubled}
    everyone = np.arange(EXAMPLES)
    for score in SCORE_NAMES:
        for result in retrieval_figures(checked(embeddings, groups=everyone), score):
            assert (result.mean_rank, result.recall[1], result.recall[5]) == (2, 0, 100)
        for result in retrieval_figures(checked(embeddings, groups=everyone // 2), score):
            assert (result.mean_rank, result.recall[1], result.candidates) == (1, 100, 31)


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_a_collapsed_space_ranks_last(score):
    same = np.tile(np.random.default_rng(0).normal(size=DIM).astype(np.float32), (EXAMPLES, 1))
    data = checked(dict.fromkeys(NAMES, same), groups=np.arange(EXAMPLES))
    for result in retrieval_figures(data, score):
        assert (result.median_rank, result.recall[10]) == (EXAMPLES, 0), result


def test_scores_are_those_that_hold_an_anchor_against_the_rest():
    assert {"cosine", "volume", "spectral"} <= set(SCORE_NAMES) <= set(SCORES)
    assert not {"direction", "mixed"} & set(SCORE_NAMES)


def test_two_examples_of_two_modalities():
    eye = np.eye(2, dtype=np.float32)
    results = retrieval_figures(checked({"text": eye, "audio": eye[::-1]}), "cosine")
    assert [(r.query, r.gallery) for r in results] == [
        (("text",), ("audio",)),
        (("audio",), ("text",)),
    ]
    for result in results:
        assert (result.recall, result.chance) == (
            {1: 0, 5: 100, 10: 100},
            {1: 50, 5: 100, 10: 100},
        )


def test_modalities_that_never_meet_give_no_figure_rather_than_a_wrong_one():
    embeddings = random_embeddings(np.random.default_rng(0))
    first = np.arange(EXAMPLES) < 16
    evaluation = evaluate(
        embeddings, {"text": first, "audio": ~first}, score="volume", neighbours=False
    )
    lonely = evaluation.find(("text",), ("audio",), "cosine")
    assert lonely.queries == 0
    assert np.isnan([lonely.recall[1], lonely.mean_rank, lonely.chance[1]]).all()
    assert json.dumps(lonely.to_json(), allow_nan=False).count("null") == 10
    assert not np.isnan(list(evaluation.summary().values())).any()


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), score=st.sampled_from(["cosine", "volume"]))
def test_order_and_absent_examples_change_nothing(seed, score):
    rng = np.random.default_rng(seed)
    number = EXAMPLES - 6
    embeddings = random_embeddings(rng, number)
    present = {name: rng.random(number) > 0.2 for name in embeddings}
    groups = rng.integers(0, 9, number)
    expected = retrieval_figures(checked(embeddings, present, groups), score)

    order = rng.permutation(number)
    # Six more examples that nobody has, with nonsense in their rows.
    shuffled = {
        name: np.concatenate([x[order], np.full((6, DIM), np.nan, np.float32)])
        for name, x in embeddings.items()
    }
    masks = {
        name: np.concatenate([mask[order], np.zeros(6, bool)]) for name, mask in present.items()
    }
    again = checked(shuffled, masks, np.concatenate([groups[order], np.zeros(6, int)]))
    for before, after in zip(expected, retrieval_figures(again, score), strict=True):
        assert after.recall == pytest.approx(before.recall, nan_ok=True)
        assert after.chance == pytest.approx(before.chance, nan_ok=True)
        assert (after.queries, after.mean_rank) == (
            before.queries,
            pytest.approx(before.mean_rank, nan_ok=True),
        )


def test_all_tasks_of_one_size_share_a_compilation():
    embeddings = random_embeddings(np.random.default_rng(0), 29, names=tuple("abcde"))
    before = devices._on_device._cache_size()
    retrieval_figures(checked(embeddings), "cosine")
    assert devices._on_device._cache_size() - before == 2  # pairs and tuples


@partial(jax.jit, static_argnames="score")
def tile_of(score, embeddings, present):
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    return score.tile(rows.factors, cols.factors), rows.valid, cols.valid


@pytest.mark.parametrize(("score", "dual_temperature"), [("volume", None), ("cosine", 0.1)])
def test_any_modalities_against_any_others(score, dual_temperature):
    rng = np.random.default_rng(4)
    embeddings = random_embeddings(rng, names=(*NAMES, "depth"))
    present = {name: rng.random(EXAMPLES) > 0.3 for name in embeddings}
    groups = rng.integers(0, 12, EXAMPLES)
    sides = ("text", "depth"), ("audio", "video")
    data = checked(embeddings, present, groups)
    found = retrieve_both_ways(data, *sides, score, dual_temperature=dual_temperature)
    found_tile = tile_of(Between(score, *sides), embeddings, present)
    scores, rows, cols = map(np.asarray, found_tile)
    if dual_temperature is not None:
        # The textbook's: the product of two softmaxes, over the queries and over the gallery.
        logits = np.where(np.outer(rows, cols), scores.astype(np.float64), -np.inf)
        logits = logits[np.ix_(rows, cols)] / dual_temperature
        scores = np.full((EXAMPLES, EXAMPLES), -np.inf)
        both = scipy.special.softmax(logits, axis=0) * scipy.special.softmax(logits, axis=1)
        scores[np.ix_(rows, cols)] = both
    expected = (
        dense_figures(scores, rows, cols, groups),
        dense_figures(scores.T, cols, rows, groups),
    )
    for result, figures, task in zip(found, expected, (sides, sides[::-1]), strict=True):
        assert (result.query, result.gallery) == task
        assert result.score == {None: score, 0.1: f"{score}, dual softmax at 0.1"}[dual_temperature]
        for name, value in figures.items():
            assert getattr(result, name) == pytest.approx(value), name


@pytest.mark.parametrize(("score", "dual_temperature"), [("volume", None), ("cosine", 0.1)])
def test_several_devices_give_what_one_gives(monkeypatch, score, dual_temperature):
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 12, EXAMPLES)
    data = checked(random_embeddings(rng), {"text": rng.random(EXAMPLES) > 0.3}, groups)

    def ranks():
        task = ("text",), ("audio", "video")
        both = retrieve_both_ways(data, *task, score, dual_temperature=dual_temperature)
        return [result.ranks for result in both]

    alone = ranks()
    monkeypatch.setattr(devices, "ROWS_PER_DEVICE", 9)  # three devices, one row to fill up
    before = devices._on_mesh._cache_size()
    np.testing.assert_array_equal(ranks(), alone)
    assert devices._on_mesh._cache_size() == before + 1


@pytest.mark.parametrize(
    "query, gallery, said",
    [
        (("smell",), ("text",), r"query: got \('smell',\).*each once, from text, audio"),
        ((), ("text",), "query: got"),
        (("text",), ("audio", "audio"), "gallery: got"),
        ("text", ("audio",), "query: got 'text'"),
        (("text", "audio"), ("audio", "video"), "both have audio"),
    ],
)
def test_sides_that_cannot_be_told_apart(query, gallery, said):
    data = checked(random_embeddings(np.random.default_rng(0), 4))
    with pytest.raises(ValueError, match=said):
        retrieve_both_ways(data, query, gallery, "cosine")


def test_a_temperature_that_is_none():
    data = checked(random_embeddings(np.random.default_rng(0), 4))
    for temperature in (0.0, -1.0, np.inf, np.nan, 1e-40):
        with pytest.raises(
            ValueError, match=f"dual_temperature: got {temperature}, expected a fin"
        ):
            retrieve_both_ways(data, ("text",), ("audio",), "cosine", dual_temperature=temperature)


@pytest.mark.parametrize("number", [0, 2], ids=["a pair", "a tuple of four"])
def test_reproduces_the_official_figures(number):
    """The ranks of every official case stand in losses/test_golden.py."""
    case = json.loads((GOLDEN / "official.json").read_text())[number]
    with np.load(GOLDEN / "official.npz", allow_pickle=False) as arrays:
        vectors = arrays[f"{case['case']}_embeddings"]
    names = tuple(f"m{i}" for i in range(case["modalities"]))
    data = checked(dict(zip(names, vectors, strict=True)))
    both = retrieve_both_ways(data, names[:1], names[1:], "volume")
    for direction, result in zip(("forward", "backward"), both, strict=True):
        figures = "/".join(f"{value:.1f}" for value in result.recall.values())
        assert figures == case["retrieval_official"][f"{direction}_recall"]


def test_unknown_score_names_the_known_ones():
    embeddings = random_embeddings(np.random.default_rng(0), 4)
    with pytest.raises(ValueError, match=f"'area'.*{', '.join(SCORE_NAMES)}"):
        evaluate(embeddings, score="area")


def test_fused():
    """A tuple is found by what was made of it: here the others' normalised sum, as by cosine."""
    rng = np.random.default_rng(0)
    embeddings = random_embeddings(rng)
    present = {name: rng.random(EXAMPLES) > 0.3 for name in embeddings}
    kept = {name: np.where(present[name][:, None], x, 0) for name, x in embeddings.items()}
    made = {one: sum(x for other, x in kept.items() if other != one) for one in embeddings}
    by_cosine = evaluate(embeddings, present, score="cosine", neighbours=False)
    by_fusion = evaluate(embeddings, present, score="fused", fused=made, neighbours=False)
    for result in by_cosine.retrieval:
        found = by_fusion.find(result.query, result.gallery, "fused")
        assert (found.queries, found.candidates) == (result.queries, result.candidates)
        assert found.mean_rank == pytest.approx(result.mean_rank, abs=0.1)  # sums are rounded

    assert by_fusion.summary(own=True).keys() == {
        "pair R@1, cosine",
        *(f"one -> rest R@1, {score}" for score in ("cosine", "own")),
        *(f"rest -> one R@1, {score}" for score in ("cosine", "own")),
    }
    # Of one modality's rest alone, and backwards.
    shuffled = {"text": made["text"][::-1]}
    of_text = evaluate(embeddings, present, score="fused", fused=shuffled, neighbours=False)
    assert of_text.find(("audio",), ("text", "video"), "fused").queries == 0
    of_this = of_text.find(("text",), ("audio", "video"), "fused")
    assert of_this.recall[1] < 10
    beside = of_text.find(("text",), ("audio", "video"), "cosine")
    means = of_text.summary()
    assert means["one -> rest R@1, fused"] == of_this.recall[1]
    assert means["one -> rest R@1, cosine"] == beside.recall[1], "of the same queries"
    others = [of_text.find((x,), of_text.rest(x), "cosine").recall[1] for x in embeddings]
    hits = of_text.summary_hits()["one -> rest R@1, cosine"]
    np.testing.assert_allclose(np.nanmean(hits, axis=1), others, rtol=1e-6)
    (of_audio, *_) = (x for x in to_text(tuple_table(of_text)).splitlines() if "  audio" in x)
    chance = of_text.find(("audio",), ("text", "video"), "cosine").chance[1]
    assert of_audio.endswith(f"{chance:.2f}") and "n/a" in of_audio


def test_fused_that_does_not_fit():
    embeddings = random_embeddings(np.random.default_rng(0), 4)
    with pytest.raises(ValueError, match="'fused' without fused embeddings"):
        evaluate(embeddings, score="fused")
    for name, made in {"text": np.ones((3, 16)), "smell": np.ones((4, 16))}.items():
        with pytest.raises(ValueError, match=rf"fused\['{name}'\]: got shape"):
            evaluate(embeddings, score="fused", fused={name: made.astype(np.float32)})
    with pytest.raises(ValueError, match=r"embeddings\['all but text'\]: row 0 holds NaN"):
        evaluate(embeddings, score="fused", fused={"text": np.full((4, 16), np.nan, np.float32)})

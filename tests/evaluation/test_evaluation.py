"""What an evaluation holds besides retrieval: results beside the plain ones, and those by label."""

import json

import numpy as np
import pytest

from gramalign.evaluation import Evaluation, evaluate, tables, to_text
from tests.evaluation.test_retrieval import EXAMPLES, random_embeddings


@pytest.fixture(scope="module")
def evaluation():
    return measured()


def measured(**more):
    rng = np.random.default_rng(0)
    return evaluate(
        random_embeddings(rng, names=("text", "audio")),
        {"audio": rng.random(EXAMPLES) > 0.2},
        score="volume",
        labels=rng.integers(0, 4, EXAMPLES),
        dual_temperature=0.1,
        rerank_by="cosine",
        rerank_top=5,
        neighbours=False,
        **more,
    )


def test_what_comes_next_is_said():
    said = []
    measured(say=said.append)
    each = "text -> audio and back, 1 of 1"
    assert said == [
        f"retrieval, volume: {each}",
        f"retrieval, cosine: {each}",
        f"dual softmax, retrieval, volume: {each}",
        "re-ranking by cosine",
        f"retrieval by label, volume: {each}",
        f"retrieval by label, cosine: {each}",
        "the space",
    ]


def test_is_read_again_as_it_was_written(evaluation):
    record = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    again = Evaluation.from_json(record)
    assert again.by_label == evaluation.by_label and len(again.by_label) == 4
    assert again.beside == evaluation.beside
    names = {"volume, dual softmax at 0.1", "volume, top 5 re-ranked by cosine"}
    assert {result.score for result in again.beside} == names
    for name in ("by_label", "beside"):
        record.pop(name)
    earlier = Evaluation.from_json(record)
    assert (earlier.by_label, earlier.beside) == ((), ())


def test_what_stands_beside_is_found_by_name_and_changes_no_summary(evaluation):
    task = ("text",), ("audio",)
    raw, better = (
        evaluation.find(*task, score) for score in ("volume", "volume, top 5 re-ranked by cosine")
    )
    assert (raw.recall[5], raw.recall[10]) == (better.recall[5], better.recall[10])
    assert raw.ranks.tolist() != better.ranks.tolist()
    ranks = evaluation.ranks()
    np.testing.assert_array_equal(
        ranks["text -> audio, volume, top 5 re-ranked by cosine"], better.ranks
    )
    plain = Evaluation(**{**vars(evaluation), "beside": (), "by_label": ()})
    assert plain.summary() == evaluation.summary() and plain.figures() == evaluation.figures()


def test_tables_show_both_side_by_side(evaluation):
    shown = to_text(tables(evaluation))
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count("text -> audio") >= 4
    for title in (
        "Plain, and dual softmax at 0.1",
        "Plain, and top 5 re-ranked by cosine",
        "Labels: everything with",
    ):
        assert title in shown
    below = shown.partition("Plain, and top 5 re-ranked by cosine")[2].splitlines()
    row = next(line for line in below if "text -> audio" in line).split()[3:]
    found = [
        evaluation.find(("text",), ("audio",), score)
        for score in ("volume", "volume, top 5 re-ranked by cosine")
    ]
    assert row == [
        cell
        for x in found
        for cell in (*(f"{x.recall[k]:.1f}" for k in (1, 5, 10)), f"{x.mean_reciprocal_rank:.3f}")
    ]


def test_a_baseline_is_measured_as_the_space_is():
    """By the same masks and groups."""
    rng = np.random.default_rng(1)
    same = random_embeddings(rng, names=("text", "audio"))
    present = {"audio": rng.random(EXAMPLES) > 0.2}
    groups = np.arange(EXAMPLES) // 3
    found = evaluate(same, present, groups=groups, baseline_embeddings=same, neighbours=False)
    assert found.baseline == found.retrieval
    assert found.diagnostics.hubness == ()

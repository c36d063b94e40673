import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from gramalign.evaluation import Relevance, checked, evaluate, retrieve_by_label
from gramalign.evaluation import relevance as module
from gramalign.evaluation.relevance import NDCG_AT, _chance, _found
from gramalign.scores import Between
from tests.evaluation.test_retrieval import tile_of


def sample(seed=0, n=37, d=8, gaps=0.3, classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centre = rng.normal(size=(classes, d))[labels]
    embeddings = {m: (centre + rng.normal(size=(n, d))).astype(np.float32) for m in "abcd"}
    present = {m: rng.random(n) > gaps for m in embeddings}
    return embeddings, present, labels


def tied_scores(seed, queries=6, size=23):
    """Few values, so that there are many ties, and something right for every query."""
    rng = np.random.default_rng(seed)
    right = rng.random((queries, size)) < rng.uniform(0.05, 0.7)
    right[np.arange(queries), rng.integers(size, size=queries)] = True
    values = np.array([-2.5, -0.0, 0.0, 1e-30, 0.1, 3.0], np.float32)
    return values[rng.integers(0, len(values), right.shape)], right


def found_of(scores, right):
    """Figures of scores, and a mask of what is right."""
    order = np.argsort(~right, axis=1, kind="stable")
    many = right.sum(axis=1)
    return _found(np.take_along_axis(scores, order, axis=1), np.zeros_like(many), many)


def untied(scores, right):
    """Scores of the same order, in which ties are broken against the query."""
    order = np.lexsort((right, -scores))
    places = np.empty(right.shape)
    falling = np.arange(right.shape[1], 0, -1.0)  # above 0, as torchmetrics wants them
    np.put_along_axis(places, order, falling[None], axis=1)
    return places


@given(seed=st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(seed):
    scores, right = tied_scores(seed)
    found = found_of(scores, right)
    for i, line in enumerate(untied(scores, right)):
        assert found.average_precision[i] == pytest.approx(average_precision_score(right[i], line))
        ideal = ndcg_score(right[[i]], line[None], k=NDCG_AT, ignore_ties=True)
        assert found.ndcg[i] == pytest.approx(ideal)
        assert found.first_place[i] == 1 + np.argmax(right[i][np.argsort(-line)])


@pytest.mark.peer
def test_equals_torchmetrics():
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.retrieval")
    scores, right = tied_scores(1)
    found = found_of(scores, right)
    for i, line in enumerate(untied(scores, right)):
        given = torch.tensor(line), torch.tensor(right[i])
        average = metrics.retrieval_average_precision(*given)
        assert found.average_precision[i] == pytest.approx(float(average))
        gain = metrics.retrieval_normalized_dcg(*given, top_k=NDCG_AT)
        assert found.ndcg[i] == pytest.approx(float(gain))
        first = metrics.retrieval_reciprocal_rank(*given)
        assert 1 / found.first_place[i] == pytest.approx(float(first))


@pytest.mark.peer
def test_equals_ranx():
    ranx = pytest.importorskip("ranx")
    scores, right = tied_scores(2)
    names = [f"column {j}" for j in range(right.shape[1])]
    qrels = {
        f"query {i}": {names[j]: 1 for j in np.flatnonzero(line)} for i, line in enumerate(right)
    }
    run = {
        f"query {i}": dict(zip(names, line.tolist(), strict=True))
        for i, line in enumerate(untied(scores, right))
    }
    figures = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), ["map", f"ndcg@{NDCG_AT}", "mrr"])
    found = found_of(scores, right)
    assert found.average_precision.mean() == pytest.approx(figures["map"])
    assert found.ndcg.mean() == pytest.approx(figures[f"ndcg@{NDCG_AT}"])
    assert (1 / found.first_place).mean() == pytest.approx(figures["mrr"])


@pytest.mark.parametrize(
    "score, budget, devices", [("cosine", 1, 1), ("volume", 200, 4), ("cosine", 2**24, 1)]
)
def test_of_embeddings_with_gaps_however_it_is_cut(monkeypatch, score, budget, devices):
    embeddings, present, labels = sample()
    labels[3] = 9  # whose only member may be a query without a right answer
    monkeypatch.setattr(module, "BUDGET", budget)
    monkeypatch.setattr(module, "devices_for", lambda queries: jax.local_devices()[:devices])
    sides = ("a", "b"), ("c", "d")
    found = retrieve_by_label(checked(embeddings, present), labels.astype(str), *sides, score)

    units = checked(embeddings, present)
    whole = tile_of(Between(score, *sides), dict(units.embeddings), dict(units.present))
    scores, rows, cols = map(np.asarray, whole)
    scores = scores[rows][:, cols]
    right = labels[rows][:, None] == labels[cols]
    scores, right = scores[right.any(axis=1)], right[right.any(axis=1)]
    each = found_of(scores, right)
    assert (found.queries, found.candidates) == right.shape
    assert found.right == right.sum(axis=1).mean()
    assert found.mean_average_precision == pytest.approx(each.average_precision.mean(), rel=1e-6)
    assert found.ndcg == pytest.approx(each.ndcg.mean(), rel=1e-6)
    assert found.mean_reciprocal_rank == pytest.approx((1 / each.first_place).mean(), rel=1e-6)
    assert found.recall == {k: 100 * (each.first_place <= k).mean() for k in (1, 5, 10)}
    assert Relevance.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_collapsed_space_finds_nothing():
    same = np.ones((40, 4), np.float32)
    labels = np.arange(40) % 4
    found = retrieve_by_label(checked({"a": same, "b": same}), labels, ("a",), ("b",), "cosine")
    assert (found.recall[10], found.ndcg) == (0, 0)
    assert found.mean_average_precision < found.chance_average_precision


def test_chance_is_the_mean_over_all_orders():
    rng = np.random.default_rng(0)
    for right in (1, 3, 12):
        wanted = np.arange(12) < right
        orders = rng.permuted(np.tile(wanted, (20000, 1)), axis=1)
        average = found_of(np.zeros(orders.shape, np.float32) - np.arange(12), orders)
        expected = _chance(np.array([right]), 12)[0]
        assert average.average_precision.mean() == pytest.approx(expected, rel=0.01)


def test_not_a_number_is_no_success():
    scores = np.array([[np.nan, 0.5, 0.1], [0.9, np.nan, 0.1]], np.float32)
    right = np.array([[True, False, False]] * 2)
    assert found_of(scores, right).first_place.tolist() == [3, 2]


def test_no_query_gives_no_figure():
    embeddings, _, labels = sample()
    nobody = {"a": np.zeros(37, bool)}
    found = retrieve_by_label(checked(embeddings, nobody), labels, ("a",), ("b",), "cosine")
    assert found.queries == 0 and found.candidates == 37
    assert np.isnan([found.mean_average_precision, found.ndcg, found.recall[1], found.right]).all()
    again = Relevance.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert np.isnan(again.ndcg)


def test_labels_that_do_not_do():
    embeddings, present, labels = sample()
    data = checked(embeddings, present)
    with pytest.raises(ValueError, match=r"labels: got shape \(3,\), expected \(37,\)"):
        retrieve_by_label(data, labels[:3], ("a",), ("b",), "cosine")
    with pytest.raises(ValueError, match="all 37 examples have the label 1,"):
        retrieve_by_label(data, np.ones(37, int), ("a",), ("b",), "cosine")
    mixed = np.where(np.arange(37) % 2, "cat", np.array(3, object))
    with pytest.raises(ValueError, match="labels: '<' not supported.*labels of one type"):
        evaluate(embeddings, present, labels=mixed)
    with pytest.raises(ValueError, match="both have a"):
        retrieve_by_label(data, labels, ("a",), ("a",), "cosine")

"""The term `matching`: its head is trained, kept, and judges in the place of a Score."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.evaluation import Judge, checked, evaluate, rerank, retrieve_both_ways
from gramalign.training import Layout, Matching, Optimizer, load_run, train
from gramalign.training.measure import judge
from tests.training.commands import arrays, assert_same_run, train_until


@pytest.fixture(scope="module")
def config(small_config, gappy_store):
    settings = {"matching": Matching(head_hidden=16, temperature=0.5)}
    changes = {"data": str(gappy_store), "objective": "clip + 0.5*matching", "settings": settings}
    return small_config(**changes, optimizer=Optimizer(learning_rate=0.01, warmup=2))


@pytest.fixture(scope="module")
def run(config, tmp_path_factory, quiet):
    return train(config, tmp_path_factory.mktemp("run"), report=quiet)


@pytest.mark.slow
def test_it_learns_and_its_head_is_kept(config, tmp_path):
    rows = []
    run = train(dataclasses.replace(config, steps=60), tmp_path, report=rows.append)
    assert rows[-1]["loss/matching"] < 0.8 * rows[0]["loss/matching"]
    assert arrays(run.folder)["terms.matching.head.hidden.kernel"].shape == (2 * 3 * 8, 16)


def test_a_killed_run_draws_the_same_negatives(run, config, tmp_path, quiet):
    train_until(6, config, tmp_path)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, run.folder)


@pytest.mark.slow
def test_devices_draw_the_same_negatives(run, config, tmp_path, quiet):
    layout = Layout(data=2, fsdp=2, model=2)
    other = train(dataclasses.replace(config, layout=layout), tmp_path, report=quiet)
    for name, x in arrays(run.folder).items():
        np.testing.assert_allclose(arrays(other.folder)[name], x, atol=5e-5, err_msg=name)


@pytest.mark.slow
def test_each_step_draws_anew(config, tmp_path):
    """With a learning rate of next to nothing, on one batch that is the same at every step."""
    still = dataclasses.replace(config.optimizer, learning_rate=1e-9)
    model = dataclasses.replace(config.model, dropout=0.0)
    whole = dataclasses.replace(config, optimizer=still, model=model, batch_size=48, log_every=1)
    rows = []
    train(dataclasses.replace(whole, steps=4), tmp_path, report=rows.append)
    assert len({round(row["loss/clip"], 4) for row in rows}) == 1
    assert len({round(row["loss/matching"], 4) for row in rows}) > 1


def test_a_run_judges_tuples(run, gappy_store):
    with np.load(gappy_store) as data:
        views = {n: data[n][:7] for n in ("text", "audio", "speed")}
        there = data["present.speed"][:7]
    found = run.embed(views, {"speed": there})
    whole = run.judge(found, {"speed": there})
    assert whole.shape == (7,) and whole.dtype == jnp.float32 and jnp.isfinite(whole).all()
    two = run.judge({n: found[n] for n in ("text", "audio")})
    np.testing.assert_allclose(whole[~there], two[~there], rtol=1e-5)
    assert (jnp.abs(whole - two)[there] > 1e-6).all()
    again = load_run(run.folder)
    np.testing.assert_array_equal(again.judge(found, {"speed": there}), whole)


def test_candidates_are_reranked_by_it(run, gappy_store):
    with np.load(gappy_store) as data:
        views = {n: data[n] for n in ("text", "audio", "speed")}
        masks = {"speed": data["present.speed"]}
    found = {n: np.asarray(x) for n, x in run.embed(views, masks).items()}
    data = checked(found, masks)
    raw, _ = retrieve_both_ways(data, ["text"], ["audio", "speed"], "cosine")
    better = rerank(data, raw, judge(run), top=60)
    rows, cols = np.divmod(np.arange(60 * 60), 60)
    tuples = {n: found[n][rows if n == "text" else cols] for n in found}
    logits = np.asarray(run.judge(tuples, {"speed": masks["speed"][cols]})).reshape(60, 60)
    wanted = (logits >= np.diagonal(logits)[:, None]).sum(axis=1)
    np.testing.assert_array_equal(better.ranks, wanted)
    assert better.score == "cosine, top 60 re-ranked by matching"

    result = evaluate(found, masks, score="volume", rerank_by=judge(run), rerank_top=5)
    assert {(x.query, x.gallery) for x in result.beside} == {
        side
        for one in found
        for rest in [tuple(n for n in result.modalities if n != one)]
        for side in (((one,), rest), (rest, (one,)))
    }, "whole tuples alone"


def test_a_run_without_one(plain):
    assert plain.judge is None
    with pytest.raises(ValueError, match=r'no head .*: train one with --objective "clip \+ 0.1\*m'):
        judge(plain)


def test_a_judge_is_checked_like_a_function(run):
    data = checked({"a": np.eye(4), "b": np.eye(4)})
    raw, _ = retrieve_both_ways(data, ["a"], ["b"], "cosine")
    fair = Judge("fair", lambda e, there: jnp.sum(e["a"] * e["b"], axis=1))
    assert rerank(data, raw, fair).recall == raw.recall
    with pytest.raises(ValueError, match="top: got 1"):
        rerank(data, raw, fair, top=1)


def test_bad_settings(unchecked):
    with pytest.raises(ValueError, match="Matching.head_hidden is 0, expected at least 1"):
        Matching(head_hidden=0)
    with pytest.raises(ValueError, match="Matching.temperature is 0.0, expected a positive"):
        Matching(temperature=0.0)
    with pytest.raises(ValueError, match="Matching.of: .*smell"):
        Matching(of="smell")
    assert Matching(of="height").settings()["score_of"] == "height"
    assert Matching(of="cosine").settings()["score_of"] == "cosine"

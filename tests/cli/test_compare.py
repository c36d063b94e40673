"""What `gramalign compare` makes of its runs, without training any."""

import functools
import io
import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import rich.console

from gramalign.cli import evaluate as evaluate_command
from gramalign.cli.compare import Compare, _Task
from gramalign.cli.console import QUIET, console
from gramalign.cli.evaluate import linear_baseline
from gramalign.cli.in_turn import InTurn
from gramalign.cli.options import SharedOptions
from gramalign.data import load
from gramalign.evaluation import compare, evaluate, fit_gcca
from gramalign.evaluation.records import to_plain
from gramalign.training import Config, NonFiniteLoss, Run, Validation


@pytest.fixture(scope="module")
def pairs(store):
    """The store, each two rows of which are a group."""
    arrays = {path.stem: np.load(path) for path in store.glob("*.npy")}
    arrays["text"][1::2] = arrays["text"][::2]
    path = store.parent / "pairs.npz"
    np.savez(path, **arrays, groups=np.arange(120) // 2)
    return str(path)


def test_the_baseline_learns_from_training_rows_and_what_is_there(store):
    data = load(str(store))
    train, rows = data.part("train"), data.part("test")
    fitted = fit_gcca({m: np.asarray(x) for m, x in train.features.items()}, train.present)
    wanted = fitted.embed({m: np.asarray(x) for m, x in rows.features.items()}, rows.present)
    found = linear_baseline(data, rows)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_large_store_is_sampled_for_the_baseline(store, monkeypatch):
    """By complete rows; and other rows are embedded a few at a time."""
    data = load(str(store))
    rows, width = data.part("test"), sum(data.dims.values())
    whole, fitted_to = linear_baseline(data, rows), []

    def fit(features, present):
        fitted_to.append({name: len(x) for name, x in features.items()})
        assert all(mask.all() for mask in present.values())
        return fit_gcca(features, present, dim=4)

    monkeypatch.setattr(evaluate_command, "fit_gcca", fit)
    monkeypatch.setattr(evaluate_command, "_ENOUGH", 20 * width)
    monkeypatch.setattr(evaluate_command, "_FEWEST", 10)
    monkeypatch.setattr(type(data), "rows_at_once", 7)
    found = linear_baseline(data, rows)
    assert fitted_to == [dict.fromkeys(data.modalities, 20)]
    assert {m: len(x) for m, x in found.items()} == {m: len(x) for m, x in whole.items()}
    monkeypatch.setattr(evaluate_command, "_FEWEST", 30)
    linear_baseline(data, rows)
    assert fitted_to[1:] == [dict.fromkeys(data.modalities, 30)]
    monkeypatch.setattr(evaluate_command, "_LARGEST", 25 * width)
    with pytest.raises(ValueError, match=r"training rows of \d+ features are more than the"):
        linear_baseline(data, rows)


def test_the_baseline_is_measured_as_the_runs_are(pairs, capsys):
    """By the same rows, masks, groups and modalities."""
    config = Config(data=pairs, modalities=("text", "sound"))
    (hits,) = Compare(scores=("own",))._baseline(config, QUIET)["linear GCCA"]
    store = load(pairs).only(config.modalities)
    rows = store.part("test")
    wanted = evaluate(
        linear_baseline(store, rows), rows.present, groups=rows.groups, neighbours=False
    )
    said = capsys.readouterr().err
    assert "linear GCCA: fitting" in said and "linear GCCA: retrieval, cosine: text -> " in said
    assert hits.keys() == wanted.summary_hits(own=True).keys()
    for name, values in wanted.summary_hits(own=True).items():
        np.testing.assert_array_equal(hits[name], values)


def test_groups_are_drawn_together(pairs, tmp_path, capsys):
    groups = load(pairs).part("test").groups
    rng = np.random.default_rng(0)
    results = {name: [{"R@1": 100.0 * (rng.random((1, len(groups))) < 0.5)}] for name in "ab"}
    Compare(data=(pairs,))._report(pairs, tmp_path, {}, results, {}, {}, QUIET)
    record = json.loads((tmp_path / "compare.json").read_text())
    assert record["figures"] == to_plain(compare(results, groups=groups).to_json())["figures"]
    assert "testing differences: R@1, 1 of 1" in capsys.readouterr().err


def test_a_comparison_that_is_replaced_is_told_of(pairs, tmp_path, capsys):
    rows = len(load(pairs).part("test"))

    def told(objectives, steps=30, seeds=2):
        hits = {"R@1": 100.0 * (np.arange(rows)[None] % 2)}
        results = {name: [hits] * seeds for name in objectives}
        asked = Compare(data=(pairs,), seeds=seeds, config=SharedOptions(steps=steps))
        asked._report(pairs, tmp_path, {}, results, {}, {}, console())
        said = capsys.readouterr().out
        return "held a comparison of " in said and said.split("held a comparison of ")[1]

    assert not told(["clip"])
    assert not told(["clip", "gram"], seeds=3), "which has more of the same"
    assert told(["gram"]).startswith("objectives clip, seeds 2, which this one replaces")
    assert told(["gram"], steps=20).startswith("steps 30, which")
    (tmp_path / "compare.json").write_text("{")
    assert not told(["clip"])


def test_of_ranks_the_lowest_is_chosen(monkeypatch, tmp_path):
    ranks = iter([9.0, 2.0, 5.0])
    monkeypatch.setattr(InTurn, "train", lambda *_: None)
    monkeypatch.setattr("gramalign.cli.compare.read_metrics", lambda path: [])
    monkeypatch.setattr("gramalign.cli.compare.best_figure", lambda *_: next(ranks))
    figure = Validation(figure="text -> sound mean rank, own")
    asked = Compare(config=SharedOptions(validation=figure))
    tried = dict.fromkeys(("seed=1", "seed=2", "seed=3"), asked.config)
    of_clip = _Task(asked.config, tmp_path)
    options = {"seed": ("1", "2", "3")}
    found = asked._tuned({"clip": of_clip}, {"clip": tried}, options, {}, QUIET)
    assert found["clip"].chosen == "seed=2"


def test_the_bar_tells_how_a_run_is_evaluated(monkeypatch):
    told, run = [], mock.create_autospec(Run, instance=True, folder=Path("run"))

    def found(name, *_, say, **options):
        say(name)
        return mock.MagicMock()

    for name in ("evaluate_run", "measure"):
        monkeypatch.setattr(f"gramalign.cli.compare.{name}", functools.partial(found, name))
    monkeypatch.setattr("gramalign.cli.compare.rows_of", lambda *_: range(7))
    Compare(scores=("own", "volume"))._hits(run, told.append)
    assert told == ["evaluate_run", "embedding 7 rows", "measure"]


def test_runs_in_turn_are_told_of_as_they_end(monkeypatch, tmp_path):
    done, made = [], mock.create_autospec(Run, instance=True)

    def train(config, folder, *, resume, report):
        assert resume, "those that are there already are read"
        report({"step": 3})
        done.append(turn._progress.tasks[0].completed)
        if config.seed:
            raise NonFiniteLoss("loss is nan")
        return made

    monkeypatch.setattr("gramalign.cli.in_turn.train", train)
    one, other = Config(steps=10), Config(steps=20, seed=1)
    screen = rich.console.Console(file=io.StringIO(), width=100)
    with InTurn([one, other, one], screen) as turn:
        assert turn.train(one, tmp_path, "first") is made
        with pytest.raises(NonFiniteLoss):
            turn.train(other, tmp_path, "second")
        turn.train(one, tmp_path, "third")
        turn.say("embedding")
        (bar,) = turn._progress.tasks
        assert (done, bar.completed, bar.total) == ([3, 13, 33], 40, 40)
        assert bar.description == "third: embedding"
    assert bar.description == "third", "what stays on the screen"
    lines = [line for line in screen.file.getvalue().splitlines() if line[1:2] == "/"]
    assert lines == ["1/3  first", "2/3  second: diverged", "3/3  third"]

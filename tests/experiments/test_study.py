"""Studies: the data they make, what they vary, and a small one from its runs to its picture."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from experiments.digit_sets import COPIES, eight_views, many_rows
from experiments.studies import STUDIES, Setup, Study, _thinned
from experiments.study import FIGURES, grids, main, measured, write
from gramalign.cli.console import console
from gramalign.data import load
from gramalign.evaluation.comparison import Interval
from gramalign.training import Config, Model, Optimizer
from tests.compiled import kept_programs as kept_programs


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_eight_views_are_those_of_digits_and_four_more(digits):
    made = eight_views()
    for name in digits.modalities:
        np.testing.assert_array_equal(made[name], digits.features[name])
    more = [name for name in made if made[name].ndim == 2 and name not in digits.modalities]
    assert more == ["coarse", "rings", "moments", "roughness"]
    for name in more:  # each tells the digits apart
        assert len(np.unique(made[name], axis=0)) == len(digits)
        assert made[name].dtype == np.float32 and np.isfinite(made[name]).all()
    np.testing.assert_array_equal(made["split"], digits.split)


def test_many_rows_leave_the_test_part_as_it_is(digits):
    made = many_rows()
    test, train = made["split"] == "test", made["split"] == "train"
    assert train.sum() == (COPIES + 1) * (digits.split == "train").sum() == 11_576
    for name in ("sums", "fourier", "gradients"):
        np.testing.assert_array_equal(made[name][test], digits.part("test").features[name])
        assert len(np.unique(made[name][train], axis=0)) == train.sum()
    # A copy is of a training image, with its label, and differs from it a little.
    of = dict(zip(made["ids"].tolist(), range(len(made["ids"])), strict=True))
    copies = [name for name in of if name.endswith("-3")]
    here = [of[name] for name in copies]
    there = [of[name.removesuffix("-3")] for name in copies]
    assert train[there].all() and (made["labels"][here] == made["labels"][there]).all()
    ink, before = (made["sums"][rows, :8].sum(axis=1) for rows in (here, there))
    assert 0.6 < np.median(ink / before) < 1.2


def test_entries_are_taken_from_the_training_part_alone(tmp_path):
    rng = np.random.default_rng(0)
    names = ("a", "b", "c", "d")
    arrays = {name: rng.normal(size=(400, 3)).astype(np.float32) for name in names}
    arrays["present.d"] = rng.random(400) < 0.7
    file = tmp_path / "store.npz"
    np.savez(file, **arrays, split=np.where(np.arange(400) % 5 == 0, "test", "train"))
    before = None
    for rate in (0.0, 0.3, 0.9):
        made = _thinned(file, rate, False)
        kept = np.stack([made[f"present.{name}"] for name in names], axis=1)
        train = made["split"] == "train"
        there = np.stack([load(file).present[name] for name in names], axis=1)
        assert (kept[~train] == there[~train]).all() and kept.sum(axis=1).min() >= 2
        assert not (kept & ~there).any() and (rate > 0 or (kept == there).all())
        assert before is None or not (kept & ~before).any(), "what is gone stays gone"
        if rate == 0.3:
            assert abs(kept[train].sum() / there[train].sum() - 0.75) < 0.05
        before = kept
        complete = _thinned(file, rate, True)
        rows = complete["split"] == "train"
        assert all(complete[f"present.{name}"][rows].all() for name in names)
        assert rows.sum() == (kept[train].all(axis=1)).sum()
        assert (~rows).sum() == (~train).sum()


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "missing"])
def test_what_a_study_trains(name, tmp_path):
    study = STUDIES[name](Setup(tmp_path, range(2)))
    configs = list(study.configs())
    assert len(set(map(repr, configs))) == len(configs), "two runs are the same"
    for places in study.lines.values():
        assert len({len(each) for each in places.values()}) == 1
        for each in places.values():
            assert [config.seed for config in each] == [0, 1]
            assert all(config.objective == each[0].objective for config in each)
    if name == "batch-size":
        assert {config.steps * config.batch_size for config in configs} == {2**18}
        assert max(config.batch_size for config in configs) == 8192


def test_missing_needs_its_data(monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["study", "missing"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "error: missing needs the emoji" in capsys.readouterr().err


def test_an_objective_looks_the_same_in_every_picture():
    pytest.importorskip("matplotlib")
    from experiments.study_plot import picture

    def looks(**objectives):
        """Of each line, its colour and whether it is broken."""
        figures = {FIGURES[0]: Interval(50.0, 1.0, 3)}
        results = {line: dict.fromkeys("12", figures) for line in objectives}
        lines = {
            line: {place: [Config(objective=objective)] if objective else [] for place in "12"}
            for line, objective in objectives.items()
        }
        drawing = picture(Study("", "", "place", lines), results, FIGURES[:1])
        panel = drawing.split('<g id="legend_1">')[0]
        # Clipped paths without a fill are lines, and those of the grid are grey.
        styles = re.findall(r'clip-path="[^"]*" style="fill: none; ([^"]*)"', panel)
        found = [
            (re.findall("stroke: (#[^;]*)", style)[0], "dasharray" in style)
            for style in styles
            if "#dddddd" not in style
        ]
        return dict(zip(objectives, found, strict=True))

    several = looks(a="gram", b="clip", c="clip + gram", d="pmrl", e="clip", f="")
    assert len({tint for tint, _ in several.values()}) == 5
    assert several["e"] == (several["b"][0], True), "the second of its objective"
    assert sum(broken for _, broken in several.values()) == 1
    assert looks(a="clip") == {"a": several["b"]}
    assert looks(a="log_volume", b="clip + gram", c="gram")["c"] == several["a"]


@pytest.mark.slow
def test_from_runs_to_results(tmp_path):
    pytest.importorskip("matplotlib")
    from experiments.study_plot import picture

    tiny = Config(
        modalities=("sums", "fourier"),
        model=Model(dim=8, hidden=8),
        optimizer=Optimizer(learning_rate=1e-2, warmup=1),
        steps=60,
        batch_size=64,
    )
    # Seeds for places, since they share their programs.
    runs = {str(seed): [replace(tiny, objective="clip", seed=seed)] for seed in (1, 10)}
    lines = {"clip": runs, "a*b": {"10": runs["10"]}}
    study = Study("What?", "So.", "place", lines, places="logarithmic")
    results = measured(study, tmp_path / "runs", console())
    found = repr(results["clip"]["10"])  # as NaN equals nothing
    assert found == repr(results["a*b"]["10"]) != repr(results["clip"]["1"])
    assert set(results["clip"]["1"]) == set(FIGURES)
    table, *_ = grids(study, results)
    assert table.columns == ("objective", "1", "10")
    assert [row[1].text for row in table.rows][1] == "", "the second was not trained there"

    file = tmp_path / "small"
    write(study, results, file, "the command")
    record = json.loads(file.with_suffix(".json").read_text())
    figure = results["clip"]["10"][FIGURES[0]]
    assert record["results"]["clip"]["10"][FIGURES[0]]["mean"] == figure.mean
    assert record["seeds"] == 1 and record["environment"]["versions"]["jax"]
    page = file.with_suffix(".md").read_text()
    assert page.startswith("# What?") and page.count("| a\\*b |") == len(FIGURES)
    drawing = file.with_suffix(".svg").read_text()
    assert drawing.count(">place<") == len(FIGURES) and ">a*b<" in drawing
    # The same results make the same picture.
    write(study, results, file, "the command")
    assert file.with_suffix(".svg").read_text() == drawing
    # Names have no order, and no line leads from one to the next.
    assert "<svg" in picture(replace(study, places="names"), results, FIGURES) != drawing

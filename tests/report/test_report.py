"""The page about runs: complete in itself, valid, and honest about what is not there."""

import base64
import dataclasses
import html.parser
import json
import math
import re
import shlex
import shutil
import struct
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gramalign.cli import main
from gramalign.cli.again import command_of
from gramalign.cli.evaluate import Evaluate, evaluate_run
from gramalign.cli.main import _read
from gramalign.cli.presets import preset
from gramalign.data import digest, load
from gramalign.evaluation import (
    CURVES,
    FUSED,
    ClassFigures,
    Classification,
    Curve,
    Degeneracy,
    Estimate,
    Point,
    Robustness,
    contributions,
)
from gramalign.evaluation.contribution import Contributions
from gramalign.evaluation.records import Kept
from gramalign.evaluation.robustness import TASKS, Range
from gramalign.report import check_installed, content, gather
from gramalign.report.additions import addition_tables
from gramalign.report.curves import predictor_plots
from gramalign.report.damage import damage_plots
from gramalign.report.histograms import bins, rank_plots
from gramalign.report.thumbnails import Thumbnails, parse_images
from gramalign.training import Clip, Config, Gram, Model, Validation, load_run
from gramalign.training.config import Layout
from tests.compiled import kept_programs as kept_programs
from tests.complaint import complaint

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.page import render
from gramalign.report.space_map import project

NASTY = "a<script>&$b_"
SMALL = ["--steps", "20", "--optimizer.warmup", "2", "--batch-size", "16", "--log-every", "5"]
SMALL += [
    "--model.dim",
    "8",
    "--model.hidden",
    "16",
    "--gram.learn-temperature",
    "--gram.anchor",
    "text",
]
VOID = {"meta", "img", "br", "link", "hr"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """200 examples of three modalities, one of them 4 x 4 pictures, with hostile names."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 5))
    views = {
        name: np.tanh(hidden @ rng.normal(size=(5, width))).astype(np.float32)
        for name, width in ((NASTY, 6), ("photo", 16), ("text", 7))
    }
    path = tmp_path_factory.mktemp("store") / "store.npz"
    ids = np.array([f"<b>row{i}</b>" for i in range(200)])
    here = rng.random(200) < 0.9
    columns = {"labels": np.arange(200) % 13, "groups": np.arange(200) // 2}
    np.savez(path, ids=ids, **columns, **{"present.text": here}, **views)
    return path


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A small run on it, evaluated."""
    out = tmp_path_factory.mktemp("runs") / "small&<i>"
    main(["train", "--data", str(store), "--out", str(out), *SMALL])
    return out


@pytest.fixture(scope="module")
def gathered(run):
    return gather(load_run(run), "small&<i>", "gramalign train", run / "again")


@pytest.fixture(scope="module")
def page(gathered):
    return render([gathered], images=(parse_images("photo:4x4"),))


def kept_of(gathered, figures):
    """As if these had been measured on the rows of the evaluation."""
    return Kept(figures, gathered.data, gathered.part, {})


class Checked(html.parser.HTMLParser):
    """Fails on tags that do not close; keeps ids, references and the text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.inner, self.outer, self.tags = [], [], [], [], set()
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self._see(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._see(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def _see(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.ids += [value] if name == "id" else []
            if name in ("src", "href", "xlink:href"):
                (self.inner if value.startswith("#") else self.outer).append((tag, value))


def sections_of(page):
    return re.findall(r'<section id="(\w+)">', page)


def test_a_page_is_whole_and_needs_nothing_else(page):
    found = Checked(page)
    assert sections_of(page) == ["summary", "origin", "training", "retrieval", "ranks"] + [
        "space",
        "map",
        "failures",
    ]
    assert len(set(found.ids)) == len(found.ids)
    assert {value[1:] for _, value in found.inner} <= set(found.ids)
    assert {value for value in re.findall(r"url\(#([^)]*)\)", page)} <= set(found.ids)
    for tag, value in found.outer:
        assert value.startswith("data:image/png;base64,") if tag == "img" else tag == "a"
    assert "script" not in found.tags and "link" not in found.tags and "@import" not in page
    assert len(page) < 3 * 2**20
    assert "nan" not in re.sub(r"data:image[^\"]*|<svg.*?</svg>", "", page, flags=re.DOTALL).lower()


def test_commands_measure_the_run_that_they_train(run, gathered):
    train, *measure = gathered.commands
    assert train == "gramalign train"
    words = [shlex.split(command)[:3] for command in measure]
    assert words == [["gramalign", "evaluate", str(run / "again")]]
    rows = gathered.rows.groups
    groups = len(np.unique(gathered.embedded.groups))
    assert groups == len(np.unique(rows)) < len(rows)


def test_names_are_text_and_never_markup(page):
    assert "<script" not in page and "<b>row" not in page and "<i>" not in page
    assert "a&lt;script&gt;&amp;$b_" in page and "&lt;b&gt;row" in page


def test_figures_are_those_of_the_evaluation(gathered, page):
    text = re.sub(r"<[^>]*>", "", page)
    for value in gathered.evaluation.summary().values():
        assert f"{value:.1f}" in text
    for result in gathered.evaluation.retrieval:
        if len(result.query) + len(result.gallery) == 3:
            assert f"{result.mean_reciprocal_rank:.3f}" in text
    assert "Learned: temperature" in text


def test_pictures_have_names_for_those_who_do_not_see_them(page):
    assert 0 < page.count('role="img"') == len(re.findall(r'<svg aria-label="[^"]+"', page))


def test_frames_take_the_colours_of_the_page(page):
    assert "var(--ink)" in page and "var(--muted)" in page and "#01020" not in page
    assert "prefers-color-scheme: dark" in page and "fill: #ffffff" not in page


def test_two_runs_stand_side_by_side(gathered):
    other = dataclasses.replace(gathered, name="other", metrics=[], timing=[], ranks={})
    page = render([gathered, other])
    Checked(page)
    assert "2 runs side by side" in page and page.count("<h3>other</h3>") >= 3
    with pytest.raises(ValueError, match="each once"):
        render([gathered, gathered])
    with pytest.raises(ValueError, match="at least one"):
        render([])


def test_what_is_missing_is_left_out(gathered, page):
    rows = dataclasses.replace(gathered.rows, labels=None)
    plain = dataclasses.replace(gathered.evaluation, baseline=())
    bare = dataclasses.replace(
        gathered, metrics=[], timing=[], ranks={}, starts=[], rows=rows, evaluation=plain
    )
    found = render([bare])
    Checked(found)
    assert sections_of(found) == ["summary", "origin", "retrieval", "space", "map"]
    assert "By class" not in found and "Environment" not in found
    assert "GCCA" not in found and "GCCA" in page


def test_every_start_has_a_column_of_its_own(gathered):
    first = {"python": "3.11", "versions": {"jax": "0.10", "wandb": None}, "git": "abc"}
    second = {"step": 7, "python": "3.12", "devices": "8 TPUs", "platform": "Linux"}

    def cells(*starts):
        group = content._origin([dataclasses.replace(gathered, starts=starts)]).groups[0]
        _, table, config = group.blocks
        assert config.folded and group.title == ""
        return [[cell.text for cell in row] for row in (*table.head, *table.rows)]

    both = cells(first, second)
    assert both == [
        ["", "from step 0 on", "from step 7 on"],
        ["devices", "", "8 TPUs"],
        ["git revision", "abc", "not from a repository"],
        ["platform", "", "Linux"],
        ["versions", "Python 3.11, jax 0.10", "Python 3.12"],
    ]
    assert cells(second) == [[name, new] for name, _, new in both[1:]], "no heading for one alone"


def test_what_is_explained_is_there_to_be_seen(gathered):
    unlabelled = dataclasses.replace(
        gathered, name="unlabelled", rows=dataclasses.replace(gathered.rows, labels=None)
    )
    fused = dataclasses.replace(
        unlabelled, evaluation=dataclasses.replace(gathered.evaluation, score=FUSED)
    )
    pictures = (parse_images("photo:4x4"),)
    explained = "near misses", "Pictures show", "the cosine stands in"
    for runs, images, wanted in (
        ([gathered], (), {"near misses"}),
        ([unlabelled], pictures, {"Pictures show"}),
        ([fused], (), {"the cosine stands in"}),
    ):
        said = content._failures(runs, images).seen
        assert {each for each in explained if each in said} == wanted
    for runs in ([gathered], [gathered, unlabelled]):
        assert ("have different units" in content._training(runs).seen) == (len(runs) > 1)
        titles = [group.title for group in content._origin(runs).groups]
        assert titles == ([run.name for run in runs] if len(runs) > 1 else [""])


@pytest.mark.parametrize(
    ("name", "figures"),
    [("contribution", Contributions(())), ("robustness", Robustness("volume", (), 1, 1, 0, ()))],
)
def test_what_stands_in_is_told_of_what_was_measured(gathered, name, figures):
    """Whatever Score another command has evaluated."""
    fusing = dataclasses.replace(gathered.config, objective="vast")
    by_fusion = dataclasses.replace(gathered.evaluation, score=FUSED)
    kept = kept_of(gathered, figures)
    by_volume, by_fused = (
        dataclasses.replace(kept, content={"options": ["--score", score]})
        for score in ("volume", FUSED)
    )
    for changes, told in (
        ({"evaluation": by_fusion}, False),  # and it was not measured
        ({"evaluation": by_fusion, name: kept}, False),
        ({"evaluation": by_fusion, "config": fusing, name: by_volume}, False),
        ({"config": fusing, name: kept}, True),
        ({name: by_fused}, True),
    ):
        section = getattr(content, f"_{name}")([gathered, dataclasses.replace(gathered, **changes)])
        assert ("the cosine stands in" in section.seen) == told
    only = content._failures([dataclasses.replace(gathered, config=fusing, **{name: kept})], ())
    assert "the cosine stands in" not in only.seen


@pytest.mark.parametrize(
    ("changes", "told"), [({}, False), ({"data": "x"}, True), ({"part": "validation"}, True)]
)
def test_rows_that_are_not_those_of_the_evaluation_are_named(gathered, changes, told):
    kept = dataclasses.replace(kept_of(gathered, Contributions(())), **changes)
    notes = content._measured(gathered, kept, addition_tables)
    assert [note.title for note in notes] == ["Other rows"] * told
    if told:
        assert notes[0].lines[0].startswith(f"Measured on {kept.data}, {kept.part}; ")
    assert content._measured(gathered, None, addition_tables) == []


def curve(kind, modalities, levels):
    """A curve whose figures fall by a tenth from level to level."""
    points = []
    for i, level in enumerate(levels):
        figures = {
            f"{task} R@1, {score}": Range(90.0 - 10 * i, 85.0 - 10 * i, 95.0 - 10 * i)
            for task in TASKS
            for score in ("volume", "cosine")
        }
        figures["pair chance R@1"] = Range(1.0, 1.0, 1.0)
        points.append(Point(float(level), f"level {level}", 0.0, figures))
    return Curve(kind, modalities, tuple(points))


def test_what_other_commands_have_measured(gathered):
    modalities = gathered.evaluation.modalities
    curves = [curve(kind, modalities, (0, 1, 4)) for kind in CURVES]
    curves.append(curve("noise", modalities[:1], (0, 1)))
    damaged = Robustness("volume", modalities, 200, 3, 0, tuple(curves))
    lines = [plot.figure.axes[0].get_lines()[0] for plot in damage_plots(damaged)]
    places = dict(zip(CURVES, [line.get_xdata().tolist() for line in lines], strict=True))
    assert places.pop("precision") == [0, 1, 2] and all(x == [0, 1, 4] for x in places.values())
    figures = ClassFigures(
        "probe",
        modalities,
        "",
        "",
        rows=40,
        classes=3,
        unknown=(),
        accuracy={1: Estimate(77.7, 61.0, 88.8)},
        macro_f1=Estimate(math.nan, math.nan, math.nan),
        chance={1: 33.3},
        majority=44.4,
        settings={},
    )
    found = Classification("volume", modalities, 150, 40, False, (), (figures,), ())
    page = render(
        [
            dataclasses.replace(
                gathered,
                robustness=kept_of(gathered, damaged),
                classification=Kept(found, gathered.data, "validation", {}),
            )
        ]
    )
    Checked(page)
    assert sections_of(page)[-2:] == ["robustness", "classification"]
    damage, classes = page.split('<section id="robustness">')[1].split("<section")
    assert damage.count("<svg") == len(CURVES) and "level 4" in damage
    assert "smallest to largest of 3 repetitions" in damage and "rest → one, cosine" in damage
    assert "Other rows" not in damage and ", validation; the evaluation is on" in classes
    assert "77.7 [61.0, 88.8]" in classes and "the most frequent class, 44.4" in classes


def test_what_each_modality_adds(gathered, run, tmp_path):
    found = contributions(gathered.embedded, "cosine")
    first = dataclasses.replace(found[0].gain, points=-12.3, p_value=0.01, by_group=True)
    found = Contributions((dataclasses.replace(found[0], gain=first), *found[1:]))
    page = render([dataclasses.replace(gathered, contribution=kept_of(gathered, found))])
    Checked(page)
    assert sections_of(page)[-1] == "contribution"
    shown = page.split('<section id="contribution">')[1]
    assert "Rest → one under cosine" in shown and "-12.3*" in shown
    assert "sign-flip test over groups" in shown and ". Each is left out alone: if two " in shown

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = {"data": gathered.data, "part": gathered.part, **found.to_json()}
    (copy / "contribution.json").write_text(json.dumps(record))
    again = gather(load_run(copy), "copy", "", copy)
    assert (again.name, again.contribution.figures) == ("copy", found)
    assert again.commands[2].endswith("--contribution")
    # One that measured both is shown once.
    evaluated = json.loads((copy / "evaluation.json").read_text())
    options = ["--data", gathered.data, "--contribution"]
    for name, each in (("evaluation", evaluated), ("contribution", record)):
        (copy / f"{name}.json").write_text(json.dumps(each | {"options": options}))
    commands = gather(load_run(copy), "copy", "", copy).commands
    assert sum("--contribution" in command for command in commands) == 1


def test_what_stands_beside_the_plain_figures(gathered):
    evaluation = gathered.evaluation
    assert evaluation.by_label, "the store has labels"
    task = evaluation.find(*(("text",), ("photo",)), evaluation.score)
    beside = tuple(
        dataclasses.replace(x, score=f"{x.score}, dual softmax", mean_reciprocal_rank=0.1234)
        for x in evaluation.retrieval
        if x.score == task.score
    )
    warning = Degeneracy("opposed", {"a - b": 0.5}, "Matches point apart & more.")
    diagnostics = dataclasses.replace(evaluation.diagnostics, warnings=(warning,))
    evaluation = dataclasses.replace(evaluation, beside=beside, diagnostics=diagnostics)
    page = render([dataclasses.replace(gathered, evaluation=evaluation)])
    Checked(page)
    assert "Plain, and dual softmax" in page and page.count("0.123") >= 6
    assert "By label" in page and "Matches point apart &amp; more." in page


def test_whether_the_gram_value_tells_of_retrieval(gathered):
    own, cosine = "validation/rest -> one R@1, own", "validation/pair R@1, cosine"
    rows = [
        {
            "step": 10 * n,
            "validation/GRAM value": 1 / n,
            own: 10.0 * n,
            cosine: -1.0 * n,
            "loss": 0.0,
        }
        for n in (1, 2, 4)
    ]
    several = dataclasses.replace(gathered, metrics=[*rows, {"step": 50, "loss": 0.1}])
    (plot,) = predictor_plots([several])
    labels = [key.label for key in plot.keys]
    assert labels == ["rest → one R@1, own: 1.00", "pair R@1, cosine: -1.00"]
    assert predictor_plots([several, several]) == []
    assert predictor_plots([dataclasses.replace(gathered, metrics=rows[:2])]) == []
    assert predictor_plots([dataclasses.replace(gathered, metrics=[])]) == []


def test_the_command(run, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for name in ("evaluation.json", "ranks.npz", "timing.jsonl", "environment.json"):
        (copy / name).unlink()
    out = tmp_path / "new" / "page.html"
    main(["report", str(copy), "--out", str(out)])
    assert "has not been evaluated" in capsys.readouterr().out
    assert (copy / "evaluation.json").exists()
    assert sections_of(out.read_text())[-1] == "failures"
    # A brief evaluation, such as compare leaves, is not enough; the folder may be the current one.
    (copy / "evaluation.json").unlink()
    evaluate_run(load_run(copy), Evaluate(copy, baseline=False), brief=True)
    monkeypatch.chdir(copy)
    for _ in range(2):  # over what it has written itself
        main(["report", "."])
    assert "has not been evaluated" in capsys.readouterr().out
    assert f"--out {tmp_path}/copy-again" in (copy / "report.html").read_text()


def test_errors_name_the_cure(run, tmp_path, monkeypatch, capsys):
    def evaluated(*arguments):
        raise AssertionError("evaluated before the options were checked")

    for name in ("is_evaluated", "evaluate_run", "gather"):
        monkeypatch.setattr(f"gramalign.cli.report.{name}", evaluated)

    def said(*words):
        return complaint(capsys, "report", *map(str, words))

    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "config.json", begun)
    assert "resume the run, or make a finished one" in said(begun)
    assert "no run was started in it" in said(tmp_path)
    assert "photo:32x32x3" in said(run, "--images", "photo")
    assert "got 'film', expected one of" in said(run, "--images", "film:2x2")
    assert "photo has 16 values a row" in said(run, "--images", "photo:5x5")
    assert f"runs: got {run}, {run}, expected" in said(run, run)
    assert "map: got pca pca, expected each once" in said(run, "--map", "pca", "pca")
    monkeypatch.setitem(sys.modules, "umap", None)
    assert "pip install umap-learn" in said(run, "--map", "umap")


RECORDS = ["evaluation", "robustness", "classification", "contribution", "environment"]


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("content", ["{}", "3", '{"data": "x", "part": "test"}'])
def test_a_file_that_lacks_what_it_should_hold_is_named(run, name, content, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / f"{name}.json").write_text(content)
    assert f"{copy / name}.json is damaged" in complaint(capsys, "report", str(copy))


def test_another_store_than_was_evaluated_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "evaluation.json").read_text())
    (copy / "evaluation.json").write_text(json.dumps(record | {"examples": 3}))
    with pytest.raises(ValueError, match="measure again with"):
        gather(load_run(copy), "copy", "", copy)
    (copy / "evaluation.json").write_text(json.dumps(record))
    with np.load(copy / "ranks.npz") as ranks:
        np.savez(copy / "ranks.npz", **{**ranks, "ids": ranks["ids"][::-1]})
    with pytest.raises(ValueError, match="other rows"):
        gather(load_run(copy), "copy", "", copy)
    np.savez(copy / "ranks.npz", x=np.ones(2))
    with pytest.raises(ValueError, match="other rows"):
        gather(load_run(copy), "copy", "", copy)
    whole = (run / "ranks.npz").read_bytes()
    version = whole.index(b"PK\1\2") + 6  # of zip, that the first of its directory's entries needs
    other = whole[:version] + b"\xff" + whole[version + 1 :]
    for damaged in (b"", b"junk", whole[:-100], whole[:200] + bytes(200) + whole[400:], other):
        (copy / "ranks.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="ranks.npz is damaged: measure again"):
            gather(load_run(copy), "copy", "", copy)
    shutil.copy(run / "ranks.npz", copy)
    record["data"] = str(tmp_path / "moved.npz")
    options = ["--data", record["data"], "--part", "test", "--contribution"]
    for changed, asked in (
        (record | {"options": options}, "--part test --contribution"),
        ({x: y for x, y in record.items() if x not in ("digest", "options")}, "--part test"),
    ):
        (copy / "evaluation.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="no data") as said:
            gather(load_run(copy), "copy", "", copy)
        assert said.value.__notes__[0].endswith(f" gramalign evaluate {copy} --data PATH {asked}")


def test_features_that_have_changed_are_refused(run, store, tmp_path):
    arrays = dict(np.load(store))
    moved = tmp_path / store.name
    np.savez(moved, **arrays | {"photo": -arrays["photo"]})
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "evaluation.json").read_text()) | {"data": str(moved)}
    (copy / "evaluation.json").write_text(json.dumps(record))
    refused = r"has changed since .*: measure again with gramalign .*, or remove \S+n.json$"
    with pytest.raises(ValueError, match=refused):
        gather(load_run(copy), "copy", "", copy)
    record["part"] = "validation"  # which it has not
    np.savez(moved, **arrays, split=np.repeat(["train", "test"], 100))
    (copy / "evaluation.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=refused) as said:
        gather(load_run(copy), "copy", "", copy)
    assert not hasattr(said.value, "__notes__"), "the store is where it was"
    np.savez(moved, **arrays | {"photo": -arrays["photo"]})
    record["part"] = "test"
    del record["digest"]  # as earlier versions
    (copy / "evaluation.json").write_text(json.dumps(record))
    assert gather(load_run(copy), "copy", "", copy).data == str(moved)


def test_figures_of_another_model_are_refused(run, tmp_path):
    """Which somebody trained in this folder while these were measured."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "evaluation.json").read_text())
    params = load_file(copy / "params.safetensors")
    name = next(name for name in params if name.endswith("bias"))
    with safe_open(copy / "params.safetensors", "numpy") as file:
        about = file.metadata()
    save_file(params | {name: params[name] + 1}, copy / "params.safetensors", about)
    refused = r"evaluation.json is of another model than \S+copy holds now: measure again with gr"
    with pytest.raises(ValueError, match=refused):
        gather(load_run(copy), "copy", "", copy)
    del record["weights"]  # as earlier versions
    (copy / "evaluation.json").write_text(json.dumps(record))
    assert gather(load_run(copy), "copy", "", copy)


@pytest.mark.parametrize(
    ("name", "figures", "command"),
    [
        ("robustness", Robustness("volume", ("text", "photo"), 20, 1, 0, ()), "robustness"),
        ("contribution", Contributions(()), "evaluate"),
        (
            "classification",
            Classification("volume", ("text", "photo"), 150, 20, False, (), (), ()),
            "classify",
        ),
    ],
)
def test_whatever_was_measured_on_rows_that_have_changed_is_refused(
    name, figures, command, run, store, tmp_path, caplog
):
    copy, arrays = tmp_path / "copy", dict(np.load(store))
    shutil.copytree(run, copy)

    def gathered_of(labels):
        np.savez(tmp_path / "other.npz", **arrays | {"labels": labels})
        return gather(load_run(copy), "copy", "", copy)

    np.savez(tmp_path / "other.npz", **arrays)
    rows = load(str(tmp_path / "other.npz"))
    about = {"data": str(tmp_path / "other.npz"), "part": "test"}
    about |= {"options": ["--data", about["data"], "--seed", "3"]}
    about |= {"digest": digest(rows.part("test"))}
    if command == "classify":
        about["learned_from"] = {"train": digest(rows.part("train"))}
        np.savez(tmp_path / "prompts.npz", text=arrays["text"], labels=arrays["labels"])
        about["prompts_from"] = str(tmp_path / "prompts.npz")
        about["prompts_digest"] = digest(load(about["prompts_from"]))
    (copy / f"{name}.json").write_text(json.dumps(about | figures.to_json()))
    assert gathered_of(arrays["labels"])
    told = f"since {copy / name}.json was measured: measure again with gramalign {command} {copy} "
    options = f"--data {tmp_path / 'other.npz'} --seed 3, or remove {copy / name}.json"
    with pytest.raises(ValueError, match=re.escape(told + options)):
        gathered_of(arrays["labels"] % 2)
    # Probes, prompts and neighbours learn from the rest.
    of_train = np.isin(arrays["ids"], rows.part("train").ids)
    changed = np.where(of_train, arrays["labels"] % 2, arrays["labels"])
    if command == "classify":
        with pytest.raises(ValueError, match=re.escape(told)):
            gathered_of(changed)
    else:
        assert gathered_of(changed)
    if command == "classify":
        np.savez(tmp_path / "prompts.npz", text=-arrays["text"], labels=arrays["labels"])
        with pytest.raises(ValueError, match=r"prompts.npz has changed since"):
            gathered_of(arrays["labels"])
        (tmp_path / "prompts.npz").unlink()
    # The page has nothing to embed from a store that is not the evaluation's.
    (tmp_path / "other.npz").unlink()
    assert getattr(gather(load_run(copy), "copy", "", copy), name).figures == figures
    assert f"other.npz cannot be opened, so {copy / name}.json is shown as it was" in caplog.text


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"matplotlib, jinja2.*gramalign\[report\]"):
        check_installed()


@pytest.mark.parametrize("number", [3, 4, 60])
def test_neighbours_stay_together_under_tsne(number):
    rng = np.random.default_rng(0)
    centres = np.eye(4)[np.arange(number) % 2]
    flat, told = project(centres + 0.05 * rng.normal(size=(number, 4)), "tsne")
    assert flat.shape == (number, 2) and np.isfinite(flat).all() and "t-SNE" in told
    if number == 60:
        near = np.linalg.norm(flat[:, None] - flat, axis=2) + 1e9 * np.eye(number)
        assert (near.argmin(axis=1) % 2 == np.arange(number) % 2).all()


@pytest.mark.parametrize("projection", ["pca", "tsne"])
@pytest.mark.parametrize("spread", [0, 1e-7, 1e-3])
def test_a_collapsed_space_is_one_point(projection, spread):
    row = np.linspace(0.1, 0.5, 8)
    rows = (row + spread * np.random.default_rng(0).normal(size=(12, 8))).astype(np.float32)
    flat, told = project(rows, projection)
    assert (told == "One point.") == (not flat.any()) == (spread < 1e-3)


def test_bars_hold_every_rank_once():
    held = [rank for low, high in bins(100, 120) for rank in range(low, high + 1)]
    assert held == list(range(1, 121))


@pytest.mark.parametrize(("largest", "named"), [(500, 10), (20_000, 8)])
def test_ranks_of_a_large_gallery_have_room_for_their_names(gathered, largest, named):
    ranks = {name: np.full_like(x, largest) for name, x in gathered.ranks.items()}
    plot, *_ = rank_plots([dataclasses.replace(gathered, ranks=ranks)])
    (panel,) = plot.figure.axes
    shown = [label.get_text() for label in panel.get_xticklabels()]
    assert (
        len(shown) == named
        and shown[0] == "1"
        and len(panel.patches) >= len(bins(largest, largest))
    )


def test_thumbnails_are_small_png(gathered):
    (picture,) = Thumbnails(gathered.rows, (parse_images("photo:2x8"),)).of(0)
    data = base64.b64decode(picture.uri.split(",")[1])
    assert data.startswith(b"\x89PNG") and struct.unpack(">II", data[16:24]) == (8, 2)


@pytest.mark.parametrize("text", ["photo", "photo:4", "photo:0x4", "photo:4x4x2", ":4x4"])
def test_images_that_make_no_sense(text):
    with pytest.raises(ValueError, match="MODALITY:HEIGHTxWIDTH"):
        parse_images(text)


@pytest.mark.parametrize(
    "config",
    [
        preset("digits"),
        Config(data="a b/c.npz", modalities=("x", "y z"), objective="0.5*clip + gram"),
        Config(
            objective="gram + clip",
            settings={
                "gram": Gram(anchor="te xt", label_smoothing=0.25),
                "clip": Clip(learn_temperature=False, temperature=0.05),
            },
            model=Model(remat=True, dtype="bfloat16"),
            validation=Validation(every=7, figure="a -> b median rank, own"),
            layout=Layout(rules=((r"kernel$", "fsdp,-"), (r"bias$", "model"))),
            microbatch=8,
            writers=("tensorboard",),
            steps=123,
        ),
    ],
)
def test_the_command_trains_the_same_config(config, tmp_path):
    words = shlex.split(command_of(config, tmp_path / "again"))
    assert words[:3] == ["gramalign", "train", "digits"]
    train = _read(words[1:])
    assert train.out == tmp_path / "again"
    got = {f.name: getattr(train.config, f.name) for f in dataclasses.fields(Config)}
    wanted = {f.name: getattr(config, f.name) for f in dataclasses.fields(Config)}
    assert train.config.terms == config.terms
    assert got | {"settings": None} == wanted | {"settings": None}

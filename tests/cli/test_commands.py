"""The commands end to end on a tiny store, and what they say when something is wrong."""

import json
import logging
import os
import platform
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pyarrow.parquet
import pytest
import safetensors.numpy

import gramalign
from gramalign import Index, training
from gramalign.cli import main
from gramalign.cli.console import console
from gramalign.cli.embed import without_text, write_npz
from gramalign.cli.evaluate import Evaluate, evaluate_run
from gramalign.cli.found import Found, table
from gramalign.cli.made_by import made_by
from gramalign.cli.main import COMMANDS
from gramalign.cli.queries import queries
from gramalign.cli.robustness import Robustness
from gramalign.cli.targets import check_embedded
from gramalign.data import digest, from_arrays, load, open_store
from gramalign.data.packed import pack
from gramalign.training import load_run
from gramalign.training.params_file import read_about
from tests.complaint import complaint
from tests.shards import spoil


def test_train_leaves_a_run_that_explains_itself(run):
    config = json.loads((run / "config.json").read_text())
    assert config["steps"] == 30 and config["objective"] == "gram"
    assert config["settings"].keys() == {"gram"}
    assert config["settings"]["gram"]["label_smoothing"] == 0.05
    assert config["settings"]["gram"]["temperature"] == 0.07  # of the preset
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert (run / "environment.json").exists()


def test_evaluate_prints_tables_and_keeps_figures(run, store, tmp_path, capsys):
    two = tmp_path / "two.npz"
    np.savez(two, **{name: np.load(store / f"{name}.npy") for name in ("text", "video", "labels")})
    words = ["--dual-softmax", "0.1", "--rerank", "cosine", "--rerank-top", "5"]
    main(["evaluate", str(run), "--data", str(two), *words])
    printed = capsys.readouterr().out
    for word in ("text", "video", "volume", "cosine", "chance", "R@1", "mAP", "GCCA"):
        assert word in printed
    for title in (
        "Plain, and dual softmax at 0.1",
        "Plain, and top 5 re-ranked by cosine",
        "Labels: everything with",
    ):
        assert title in printed
    record = json.loads((run / "evaluation.json").read_text())
    assert record["score"] == "volume" and record["part"] == "test"
    assert record["options"] == ["--data", str(two), *words]
    # Other data has no part in it but that it is measured on: not even a row to train on.
    main(["evaluate", str(run), "--data", str(two), *words, "--part", "all"])
    assert json.loads((run / "evaluation.json").read_text())["baseline"]
    untrained = tmp_path / "untrained.npz"
    np.savez(untrained, **np.load(two), split=np.repeat("test", 120))
    main(["evaluate", str(run), "--data", str(untrained)])
    assert "GCCA" in capsys.readouterr().out
    main(["evaluate", str(run), "--data", str(two), *words])
    capsys.readouterr()
    evaluate_run(load_run(run), Evaluate(run, baseline=False), brief=True)
    assert capsys.readouterr() == ("", "")
    assert json.loads((run / "evaluation.json").read_text()) == record, "no brief one instead"
    assert len(record["retrieval"]) == len(record["by_label"]) == len(record["beside"]) == 4
    with np.load(run / "ranks.npz") as ranks:
        assert len(ranks["ids"]) == record["examples"]
        for task in record["retrieval"] + record["beside"]:
            name = f"{'+'.join(task['query'])} -> {'+'.join(task['gallery'])}, {task['score']}"
            found = ranks[name][ranks[name] > 0]
            assert np.mean(found <= 5) == pytest.approx(task["recall"]["5"] / 100)
        assert any(name.endswith(", baseline") for name in ranks)


@pytest.mark.slow
def test_evaluate_reranks_by_a_trained_head(run, store, small, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:  # before anything takes long
        patch.delattr("gramalign.cli.evaluate.linear_baseline")
        said = complaint(capsys, "evaluate", str(run), "--rerank", "matching")
    assert f'{run} has no head that could re-rank: train one with --objective "gram + 0.1' in said
    words = ["train", "--data", str(store), "--objective", "gram + 0.1*matching", "--no-evaluation"]
    words += ["--gram.anchor", "text", "--matching.anchor", "text", "--matching.of", "height"]
    main([*words, *small, "--out", str(tmp_path)])
    main(["evaluate", str(tmp_path), "--rerank", "matching", "--rerank-top", "7"])
    assert "Plain, and top 7 re-ranked by matching" in capsys.readouterr().out
    beside = json.loads((tmp_path / "evaluation.json").read_text())["beside"]
    assert len(beside) == 6 and all(len(x["query"] + x["gallery"]) == 3 for x in beside)
    assert beside[0]["score"] == "volume, top 7 re-ranked by matching"


def test_evaluate_tells_what_each_modality_adds(run, store, capsys):
    main(["evaluate", str(run), "--contribution", "--no-baseline"])
    printed, stages = capsys.readouterr()
    assert "rest -> one under volume, and the points that a modality adds" in printed
    assert "Pairs" in printed and "GCCA" not in printed
    for stage in (f" of {store}, test\n", "what each modality adds to finding text, volume\n"):
        assert stage in stages and stage not in printed
    assert len(json.loads((run / "evaluation.json").read_text())["retrieval"]) == 24
    record = json.loads((run / "contribution.json").read_text())
    assert len(record["targets"]) == 6 and record["part"] == "test"
    with np.load(run / "contribution.npz") as ranks:
        for item in record["targets"]:
            found = ranks[
                f"{'+'.join(item['joint']['query'])} -> {item['target']}, {item['score']}"
            ]
            assert len(found) == len(ranks["ids"])
            assert (found > 0).sum() == item["joint"]["queries"]


@pytest.fixture
def pairs(store, tmp_path):
    """The store with two rows to a group, 40 of them for validation."""
    arrays = {path.stem: np.load(path) for path in store.glob("*.npy")}
    split = np.repeat(["train", "validation", "test"], [60, 40, 20])
    np.savez(tmp_path / "pairs.npz", **arrays, split=split, groups=np.arange(120) // 2)
    return str(tmp_path / "pairs.npz")


class Asked(Exception):
    """What a command would have measured, and how."""


def asking(data, score, **how):
    raise Asked(data, how)


def test_it_does_so_of_the_rows_that_are_asked_for(run, pairs, monkeypatch):
    monkeypatch.setattr("gramalign.cli.evaluate.contributions", asking)
    with pytest.raises(Asked) as found:
        Evaluate(run, data=pairs, part="validation")._contribution(load_run(run))
    data, _ = found.value.args
    assert data.groups.tolist() == (np.arange(40) // 2).tolist()


def test_what_is_fused_is_said_to_be_left_out(run, monkeypatch, capsys):
    monkeypatch.setattr("gramalign.cli.evaluate.contributions", asking)
    for score, told in (("fused", True), ("volume", False)):
        with pytest.raises(Asked):
            Evaluate(run, score=score)._contribution(load_run(run))
        assert ("contribution by the cosine only" in capsys.readouterr().out) == told


def test_figures_need_not_take_the_place_of_the_runs_own(run, store, tmp_path, capsys):
    main(["evaluate", str(run), "--no-baseline"])
    kept = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    elsewhere = tmp_path / "figures" / "again"
    words = [str(run), "--data", str(store), "--out", str(elsewhere)]
    main(["evaluate", *words, "--no-baseline", "--contribution"])
    main(["robustness", *words, "--curves", "precision"])
    words[2] = f"{store}/"  # another name of the same
    main(["classify", *words, "--prompts", "text", "--score", "cosine"])
    record = json.loads((elsewhere / "classification.json").read_text())
    assert (record["data"], record["score"]) == (f"{store}/", "cosine")
    assert record["learned_from"] == {"train": digest(load(str(store)).part("train"))}
    for name in ("evaluation", "contribution", "robustness", "classification"):
        told = json.loads((elsewhere / f"{name}.json").read_text())["digest"]
        assert told == digest(load(str(store)).part("test"))
    found = {path.name for path in elsewhere.iterdir()}
    assert {"evaluation.json", "ranks.npz", "contribution.json", "robustness.json"} <= found
    assert {"classification.json", "predictions.npz", "contribution.npz"} <= found
    assert kept == {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    printed = capsys.readouterr().out
    pairs = ["evaluation.json and ranks.npz", "contribution.json and contribution.npz"]
    for names in (*pairs, "classification.json and predictions.npz", "robustness.json"):
        assert f"wrote {elsewhere / names}\n" in printed


def test_versions(capsys):
    main(["--version"])
    printed = capsys.readouterr().out
    versions = f"jax {jax.__version__}, Python {platform.python_version()}"
    assert printed == f"gramalign {gramalign.__version__}, {versions}\n"


@pytest.mark.parametrize("words", ["train --help", "methods --json"])
def test_a_reader_may_leave_early(words):
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "gramalign", *words.split()]
    ended = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_robustness_prints_curves_and_keeps_figures(run, capsys):
    main(["robustness", str(run), "--curves", "noise", "precision", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert "Noise on sound, in standard deviations" in printed and "bfloat16" in printed
    record = json.loads((run / "robustness.json").read_text())
    assert [curve["kind"] for curve in record["curves"]] == ["noise"] * 4 + ["precision"]
    # None of it: the figures of the evaluation.
    main(["evaluate", str(run), "--no-baseline"])
    summary = json.loads((run / "evaluation.json").read_text())["summary"]
    for curve in record["curves"]:
        figures = curve["points"][0]["figures"]
        for name, value in summary.items():
            assert figures[name]["mean"] == pytest.approx(value)


def test_what_cannot_be_measured_is_refused_before_anything_is(
    run, store, tmp_path, monkeypatch, capsys
):
    pair = tmp_path / "pair.npz"
    np.savez(pair, **{name: np.load(store / f"{name}.npy") for name in ("text", "video")})

    def embedded(*arguments, **options):
        raise AssertionError("embedded before the options were checked")

    for module in (
        "gramalign.training.measure",
        "gramalign.cli.evaluate",
        "gramalign.cli.robustness",
    ):
        monkeypatch.setattr(f"{module}.embed_store", embedded)
    out = tmp_path / "figures"
    for words, message in (
        ("evaluate --dual-softmax -1", "--dual-softmax: got -1.0, expected a finite number"),
        ("evaluate --dual-softmax inf", "--dual-softmax: got inf"),
        ("evaluate --dual-softmax 1e-40", "--dual-softmax: got 1e-40"),
        ("evaluate --rerank-top 9", "--rerank-top is for --rerank"),
        ("evaluate --rerank volume --rerank-top 1", "--rerank-top: got 1, expected at least 2"),
        (f"evaluate --contribution --data {pair}", "--contribution: got 2 modalities, expected"),
        ("robustness --seed -1", "--seed: got -1, expected at least 0"),
        ("robustness --repeats 0", "--repeats: got 0, expected at least 1"),
    ):
        command, *options = words.split()
        assert message in complaint(capsys, command, str(run), *options, "--out", str(out))
    assert not out.exists()


def test_what_fails_leaves_no_folder(run, tmp_path, capsys):
    out = tmp_path / "figures"
    for words in ("evaluate --data {}", "classify --prompts smell", "robustness --data {}"):
        command, *options = words.format(tmp_path / "absent").split()
        complaint(capsys, command, str(run), *options, "--out", str(out))
        assert not out.exists()


def test_robustness_of_the_rows_that_are_asked_for(run, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("gramalign.cli.robustness.robustness", asking)
    where = {"data": pairs, "part": "validation", "out": tmp_path}
    with pytest.raises(Asked) as found:
        Robustness(run, **where, repeats=5, seed=9).run()
    data, how = found.value.args
    assert data.groups.tolist() == (np.arange(40) // 2).tolist()
    assert (how["repeats"], how["seed"], len(how["features"]["text"])) == (5, 9, 40)


def test_a_checkpoint_is_evaluated_as_a_run_of_its_own(run, store, tmp_path, capsys):
    out = tmp_path / "so-far"
    main(["export", str(run), "--out", str(out), "--checkpoint", "15"])
    assert "after step 15" in capsys.readouterr().out
    main(["evaluate", str(out)])
    assert json.loads((out / "evaluation.json").read_text())["summary"]
    assert "holds a run" in complaint(capsys, "export", str(run), "--out", str(out))


def test_embed_writes_a_store_of_unit_rows(run, store, tmp_path, capsys):
    out = tmp_path / "embedded.npz"
    main(["embed", str(run), "--data", str(store), "--out", str(out)])
    embedded = open_store(out)
    assert len(embedded) == 120 and embedded.dims == {"sound": 8, "text": 8, "video": 8}
    lengths = np.linalg.norm(np.asarray(embedded.features["text"]), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    absent = ~np.load(store / "present.sound.npy")
    assert absent.any() and not np.asarray(embedded.features["sound"])[absent].any()
    assert list(embedded.ids[:2]) == ["row0", "row1"]
    assert list(embedded.split) == list(load(str(store)).split)


def test_embed_keeps_what_is_known_of_the_rows(run, pairs, tmp_path, capsys):
    out, wanted = tmp_path / "new" / "embedded.npz", load(pairs)
    for _ in range(2):  # over what it has written itself
        main(["embed", str(run), "--data", pairs, "--out", str(out)])
    shapes = ", ".join(f"{name} (120, 8)" for name in load(pairs).modalities)
    assert f"wrote {out}: {shapes}\n" in capsys.readouterr().out
    found = open_store(out)
    for name in ("ids", "split", "labels", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    np.testing.assert_array_equal(found.present["sound"], wanted.present["sound"])


def test_embed_writes_a_table_for_databases(run, pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gramalign.data.parquet._ROWS", 50)
    out = {kind: tmp_path / f"embedded.{kind}" for kind in ("npz", "parquet")}
    for path in (*out.values(), out["parquet"]):  # and over what it has written itself
        main(["embed", str(run), "--data", pairs, "--out", str(path)])
    wanted, table = open_store(out["npz"]), pyarrow.parquet.read_table(out["parquet"])
    for name in ("ids", "labels", "split", "groups"):
        assert table[name].to_pylist() == getattr(wanted, name).tolist()
    for name, rows in wanted.features.items():
        there = wanted.present[name]
        found = table[name].to_pylist()
        assert [row is not None for row in found] == there.tolist()
        np.testing.assert_array_equal([row for row in found if row], rows[there])
    assert not wanted.present["sound"].all() and np.shape(table["text"].to_pylist()) == (120, 8)
    kinds = [str(table.schema.field(name).type) for name in ("sound", "text")]
    assert kinds == ["list<element: float>", "fixed_size_list<element: float>[8]"]
    sources = [f"{name}={out['parquet']}" for name in wanted.modalities]
    words = ["--table", str(out["parquet"]), "--out", str(tmp_path / "store"), "--at-least", "1"]
    main(["join", *sources, *words])
    again = open_store(tmp_path / "store")
    for name, rows in wanted.features.items():
        np.testing.assert_array_equal(again.present[name], wanted.present[name])
        np.testing.assert_array_equal(again.features[name], rows)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = complaint(capsys, "embed", str(run), "--data", pairs, "--out", str(out["parquet"]))
    assert "Parquet needs pyarrow, not installed here: pip install 'gramalign[formats]'" in said


def test_so_many_rows_are_embedded_at_a_time(run, store, tmp_path, monkeypatch):
    seen = []

    def embed_store(run, rows, batch_size, **more):
        seen.append(batch_size)
        return training.embed_store(run, rows, batch_size, **more)

    monkeypatch.setattr("gramalign.cli.embed.embed_store", embed_store)
    words = ["--data", str(store), "--out", str(tmp_path / "x.npz"), "--batch-size", "50"]
    main(["embed", str(run), *words])
    assert seen == [50]


def test_embed_keeps_the_parts_in_safetensors_too(run, store, tmp_path, capsys, caplog):
    out = tmp_path / "embedded.safetensors"
    for _ in range(2):  # over what it has written itself
        main(["embed", str(run), "--data", str(store), "--out", str(out)])
    assert list(open_store(out).split) == list(load(str(store)).split)
    assert "left out ids: they are text, which only an .npz can hold" in caplog.text


def test_a_modality_may_have_the_name_of_an_argument_of_savez(tmp_path):
    arrays = {name: np.full((3, 2), n) for n, name in enumerate(("file", "allow_pickle", "args"))}
    write_npz(tmp_path / "rows.npz", arrays)
    with np.load(tmp_path / "rows.npz") as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert open_store(tmp_path / "rows.npz").modalities == tuple(arrays)


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["7", "42"], [7, 42]),
        (["007", "42"], None),
        (["9" * 23, "1"], None),
        (["\u00b2", "1"], None),
    ],
)
def test_safetensors_hold_ids_that_are_integers(ids, kept):
    arrays = {"ids": np.array(ids), "split": np.array(["train", "test"])}
    found = without_text(arrays)
    assert found["split"].tolist() == [0, 2]
    assert (found["ids"].tolist() if "ids" in found else None) == kept
    assert set(arrays) == {"ids", "split"} and arrays["split"][0] == "train", "left as they were"


def test_safetensors_hold_labels_that_are_numbers():
    arrays = {"ids": np.array(["1"]), "split": np.array(["validation"])}
    assert without_text({**arrays, "labels": np.array([3])})["labels"].tolist() == [3]
    found = without_text({**arrays, "labels": np.array(["cat"])})
    assert "labels" not in found and found["split"].tolist() == [1]


def test_nothing_is_written_over_what_would_be_lost(run, store, tmp_path, capsys):
    features, model = tmp_path / "features.npz", tmp_path / "params.safetensors"
    np.savez(features, text=np.ones((3, 2)), sound=np.ones((3, 2)))
    shutil.copy(run / "params.safetensors", model)
    index, other = tmp_path / "index.safetensors", tmp_path / "other.safetensors"
    Index({"text": np.eye(3)}).save(index)
    safetensors.numpy.save_file({"text": np.ones((3, 2))}, other)
    notes, page = tmp_path / "notes.json", tmp_path / "page.html"
    notes.write_text('{"machine": "mine"}')
    page.write_text("<!doctype html><title>mine</title>")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refused(*words):
        said = complaint(capsys, *map(str, words))
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        return said

    again = tmp_path / ".." / tmp_path.name / features.name
    for data in (features, f"{store} + {again}"):
        said = refused("embed", run, "--data", data, "--out", features)
        assert f"--out is {features}, the features themselves" in said
    for command, kept in (
        (["embed", run, "--data", store, "--out"], (features, model, index, other)),
        (["search", run, "row3", "--save-index"], (model, other)),
        (["report", run, "--out"], before),
        (["bench", "--out"], before),
        (["plan", "--topology", "v5e:2x2", "--out"], before),
    ):
        for path in kept:
            said = refused(*command, path)
            assert f"is {path}, which exists, and nothing in it says that gramalign" in said
            assert f"{command[0]} wrote it: give another name, or move it away" in said
    said = refused("search", run, "row3", "--save-index", "index.npz")
    assert "--save-index: got index.npz, expected a name that ends in .safetensors" in said
    main(["search", str(run), "row3", "--save-index", str(index)])
    assert len(Index.load(index)) == 120


FILES = [
    ["embed", "{run}", "--data", "{store}", "--out"],
    ["search", "{run}", "row3", "--save-index"],
    ["report", "{run}", "--out"],
    ["plan", "--topology", "v5e:2x2", "--out"],
    ["bench", "--out"],
]
FOLDERS = [
    ["train", "--data", "{store}", "--batch-size", "16", "--out"],
    ["evaluate", "{run}", "--out"],
    ["export", "{run}", "--out"],
    ["pack", "{store}"],
]


@pytest.mark.parametrize("words", FILES, ids=lambda words: words[0])
def test_a_folder_where_a_file_is_to_be(words, run, store, tmp_path, capsys):
    words = [word.format(run=run, store=store) for word in words]
    folder, file = tmp_path / "there.safetensors", tmp_path / "file"
    folder.mkdir()
    file.touch()
    assert f"is {folder}, a folder, expected a file" in complaint(capsys, *words, str(folder))
    inside = file / "x.safetensors"
    assert f"is {inside}, but above it is a file" in complaint(capsys, *words, str(inside))
    assert sorted(tmp_path.iterdir()) == [file, folder]


@pytest.mark.parametrize("words", FOLDERS, ids=lambda words: words[0])
def test_a_file_where_a_folder_is_to_be(words, run, store, tmp_path, capsys):
    words = [word.format(run=run, store=store) for word in words]
    file = tmp_path / "file"
    file.write_text("precious")
    for place in (file, file / "inside"):
        said = complaint(capsys, *words, str(place))
        assert f"{place} cannot be a folder, as a file is in the way" in said
    assert file.read_text() == "precious"


def test_an_address_is_refused_whatever_the_option(capsys):
    assert "copy from the address" in complaint(capsys, "train", "--data", "0.7*gs://a + gs://b")
    assert "copy from the address" in complaint(capsys, "evaluate", "--out=s3://a/b", "runs/a")


def test_a_row_whose_id_is_an_address_is_found(run, store, tmp_path, capsys):
    ids = np.array([f"https://example.com/{i}.jpg" for i in range(9)])
    np.savez(tmp_path / "rows.npz", ids=ids, text=np.load(store / "text.npy")[:9])
    words = [str(run), ids[3], "--against", "text", "--data", str(tmp_path / "rows.npz")]
    assert searched(capsys, *words)[0]["query"] == ids[3]
    assert "copy from the address" in complaint(
        capsys, "search", str(run), ids[3], "--data", "s3://a"
    )


def test_rows_without_what_the_run_embeds_are_left_out(run, tmp_path, caplog):
    text, odd = np.ones((6, 7), np.float32), np.arange(6) % 2 == 1
    smell = np.ones((6, 2), np.float32)
    rows = {"text": text, "smell": smell, "present.text": odd, "ids": np.array(list("abcdef"))}
    np.savez(tmp_path / "rows.npz", **rows)
    out = tmp_path / "embedded.npz"
    main(["embed", str(run), "--data", str(tmp_path / "rows.npz"), "--out", str(out)])
    assert load(out).ids.tolist() == ["b", "d", "f"] and load(out).modalities == ("text",)
    assert "left out 3 rows without any of the run's modalities" in caplog.text


def test_rows_without_anything_that_the_run_embeds(run, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", smell=np.ones((3, 2), np.float32))
    data, out = tmp_path / "rows.npz", tmp_path / "x.npz"
    said = complaint(capsys, "embed", str(run), "--data", str(data), "--out", str(out))
    assert "has smell, expected any of the run's modalities, sound, text" in said
    assert not out.exists()


def test_pack_says_what_it_has_made(store, tmp_path, capsys):
    out = tmp_path / "packed"
    main(["pack", str(store), str(out), "--shard-rows", "50"])
    assert len(list(out.glob("*.array_record*"))) == 3
    size = sum(path.stat().st_size for path in out.iterdir()) / 2**20
    said = capsys.readouterr().out.replace("\n", "")
    assert f"packed 120 rows into {out}: {size:.1f} MiB" in said
    assert len(load(str(out))) == 120


@pytest.mark.parametrize("data", ["digits", "0.5*digits + nowhere.npz"])
def test_what_is_read_need_not_be_a_file(data, tmp_path):
    path = tmp_path / "x.npz"
    path.touch()
    check_embedded("--out", path, data)


def test_what_a_search_asks_with(run, store, tmp_path):
    trained, rows = load_run(run), load(str(store))
    there = np.load(store / "present.sound.npy")
    for place, name in ((there.argmax(), "sound"), (there.argmin(), "text")):
        asked = queries(trained, f"row{place}", [], rows)
        assert (list(asked.embeddings), list(asked.present)) == ([name], [name])
        wanted = training.embed_store(trained, rows)[name][[place]]
        np.testing.assert_allclose(asked.embeddings[name], wanted, atol=1e-6)
    lacking = there.argmin()
    with pytest.raises(ValueError, match=f"row 'row{lacking}' has no sound; it has text, video$"):
        queries(trained, f"row{lacking}", ["text", "sound"], rows)

    views = {name: np.load(store / f"{name}.npy")[:4] for name in ("text", "video")}
    path = tmp_path / "more.npz"
    np.savez(path, smell=np.ones((4, 2)), **views, **{"present.text": np.arange(4) != 1})
    every, one = (queries(trained, str(path), by, rows) for by in ([], ["video"]))
    assert set(every.embeddings) == {"text", "video"} and set(one.embeddings) == {"video"}
    assert every.present["text"].tolist() == [True, False, True, True]
    assert every.new and len(every.ids) == 4
    more = load(str(path))
    assert list(queries(trained, "0", [], more).embeddings) == ["text"]
    with pytest.raises(ValueError, match="'1' has no modality of the run; it has none of them$"):
        queries(trained, "1", [], more.only(["smell", "text"]))
    np.savez(path, smell=np.ones((4, 2)))
    with pytest.raises(
        ValueError, match="smell, expected any of the run's modalities, sound, text"
    ):
        queries(trained, str(path), [], rows)


def searched(capsys, *args: str) -> list[dict]:
    capsys.readouterr()
    main(["search", *args, "--json"])
    return json.loads(capsys.readouterr().out)


def test_search_by_a_row_and_by_a_store(run, store, tmp_path, capsys):
    saved, there = tmp_path / "index.safetensors", np.load(store / "present.sound.npy")
    (one,) = searched(capsys, str(run), "row3", "--by", "text", "--k", "120", "--against", "text")
    assert (one["query"], one["by"], one["score"]) == ("row3", ["text"], "volume")
    assert len(one["hits"]) == 120 and [hit["rank"] for hit in one["hits"]] == [*range(1, 121)]
    (own,) = (hit for hit in one["hits"] if hit["is_query"])
    assert own["id"] == "row3" and own["score"] == pytest.approx(0, abs=2e-3)
    for hit in one["hits"]:
        assert ("sound" in hit["modalities"]) == there[int(hit["id"].removeprefix("row"))]

    words = [str(run), "row3", "--by", "text", "video", "--k", "5"]
    (fresh,) = searched(capsys, *words, "--save-index", str(saved))
    (again,) = searched(capsys, *words, "--index", str(saved))
    assert [hit["id"] for hit in again["hits"]] == [hit["id"] for hit in fresh["hits"]]
    words = [*words, "--against", "text", "--index", str(saved)]
    marked = [searched(capsys, *words, *more)[0]["hits"] for more in ([], ["--data", str(store)])]
    assert [hits[0]["id"] for hits in marked] == ["row3", "row3"]
    assert [hits[0]["is_query"] for hits in marked] == [True, False], "an id of another store"

    rows, test = tmp_path / "rows.npz", load(str(store)).part("test")
    name = str(test.ids[0])
    np.savez(rows, text=np.asarray(test.features["text"])[:2], ids=np.array([name, "new"]))
    first, second = searched(capsys, str(run), str(rows), "--part", "test", "--score", "cosine")
    assert (first["query"], second["query"]) == (name, "new") and len(second["hits"]) == 10
    assert name in {hit["id"] for hit in first["hits"]} <= set(test.ids.tolist())
    assert not any(hit["is_query"] for hit in first["hits"]), "another store's row of this name"

    words = [str(run), "row3", "--by", "text", "--score"]
    (root,) = searched(capsys, *words, 'volume(form="root")')
    (plain,) = searched(capsys, *words, 'volume(form="volume")')
    assert root["score"] == "volume(form='root')" and plain["score"] == "volume"
    assert [hit["score"] for hit in root["hits"]] != [hit["score"] for hit in plain["hits"]]

    main(["search", str(run), "row3", "--by", "text", "--against", "text"])
    printed = capsys.readouterr().out
    assert "row3: text -> text, volume" in printed and "row3  (the query)" in printed


def altered(run, to, step=30):
    """The run under another name, with other parameters."""
    to.mkdir(parents=True)
    params = run / "params.safetensors"
    arrays = {name: np.asarray(1.01 * x) for name, x in safetensors.numpy.load_file(params).items()}
    about = json.dumps({**read_about(params), "step": step})
    safetensors.numpy.save_file(arrays, to / params.name, metadata={"gramalign": about})
    return to


def test_search_knows_whose_an_index_is(run, store, tmp_path, capsys, caplog):
    saved, moved = tmp_path / "index.safetensors", tmp_path / "moved"
    main(["search", str(run), "--save-index", str(saved)])
    assert f"wrote {saved}: 120 rows" in capsys.readouterr().out.replace("\n", "")
    assert Index.load(saved).made_by.startswith("small, step 30, parameters ")
    trained = load_run(run)
    narrow = replace(trained.config, model=replace(trained.config.model, dtype="bfloat16"))
    assert made_by(replace(trained, config=narrow)) != made_by(trained), "other embeddings"
    embedded = ["row3", "--index", str(saved), "--data", str(store)]
    moved.mkdir()
    shutil.copy(run / "params.safetensors", moved)  # the same parameters under another name
    (one,) = searched(capsys, str(moved), *embedded)
    assert one["query"] == "row3" and not caplog.records

    other = altered(run, tmp_path / "other")
    said = complaint(capsys, "search", str(other), *embedded)
    assert f"{saved} was embedded by small, not by {other} at step 30: search it with " in said
    assert f"or rebuild it with gramalign search {other} --save-index {saved}" in said
    later = altered(run, tmp_path / "a" / "small", step=60)
    said = complaint(capsys, "search", str(later), *embedded)
    assert f"by small at step 30, not by {later} at step 60: rebuild it" in said
    anew = altered(run, tmp_path / "b" / "small")
    said = complaint(capsys, "search", str(anew), *embedded)
    assert "by small, before that run was trained anew: rebuild it" in said

    (one,) = searched(capsys, str(other), *embedded[:3])  # the index's own row, embedded with it
    (record,) = caplog.records
    assert one["query"] == "row3" and "compared only with each other" in record.message
    caplog.clear()
    index = Index.load(saved)
    Index(index.embeddings, index.present, index.ids, made_by="a model of mine").save(saved)
    searched(capsys, str(other), *embedded)
    assert not caplog.records


@pytest.mark.slow
def test_a_modality_is_added_to_a_space_whose_index_stays(run, store, small, tmp_path, capsys):
    saved, out = tmp_path / "index.safetensors", tmp_path / "with_smell"
    main(["search", str(run), "row3", "--save-index", str(saved)])
    text, video = (np.load(store / f"{name}.npy") for name in ("text", "video"))
    smell = np.cos(text)
    np.savez(tmp_path / "more.npz", smell=smell, text=text, video=video)
    words = ["train", "--data", str(tmp_path / "more.npz"), "--no-evaluation", *small]
    words += ["--start-from", str(run)]
    main([*words, "--freeze", "text", "--out", str(out)])
    np.savez(tmp_path / "asked.npz", smell=smell[:2])
    asked = [str(tmp_path / "asked.npz"), "--index", str(saved)]
    first, second = searched(capsys, str(out), *asked, "--against", "text")
    assert len(first["hits"]) == len(second["hits"]) == 10
    embedded = load_run(out).embed({"smell": smell[:1].repeat(120, 0), "text": text})
    nearest = np.argmax(np.abs(embedded["text"] @ embedded["smell"][0]))  # by volume
    assert first["hits"][0]["id"] == f"row{nearest}"

    refused = "was embedded by small, not by"
    said = complaint(capsys, "search", str(out), *asked)
    assert refused in said and "what is the same in both, with --against text, or search" in said
    main([*words, "--out", str(tmp_path / "all")])  # nothing is frozen
    said = complaint(capsys, "search", str(tmp_path / "all"), *asked, "--against", "text")
    assert refused in said and "--against" not in said

    # What a query uses is not searched, so that tower may have changed.
    two, index = tmp_path / "two.safetensors", Index.load(saved)
    rows = {name: index.embeddings[name] for name in ("text", "video")}
    Index(rows, None, index.ids, made_by=index.made_by).save(two)
    np.savez(tmp_path / "filmed.npz", video=video[:1])
    asked = [str(tmp_path / "filmed.npz"), "--index", str(two)]
    (one,) = searched(capsys, str(out), *asked)
    (same,) = searched(capsys, str(out), *asked, "--against", "text")
    assert one["hits"] == same["hits"]
    assert refused in complaint(capsys, "search", str(out), *asked, "--against", "video")


def test_search_says_what_is_wrong(run, store, tmp_path, monkeypatch, capsys):
    def embedded(*arguments):
        raise AssertionError("embedded before the options were checked")

    def said(*words: str) -> str:
        return complaint(capsys, "search", str(run), *words)

    absent = int(np.flatnonzero(~np.load(store / "present.sound.npy"))[0])
    assert "did you mean 'row11" in said("rwo119")
    assert "ids are such as 'row0'" in said("nothing-like-it")
    assert "':car: [b]x' is neither an id" in said(":car: [b]x"), "no emoji, and no markup"
    assert "--by is smell, but the run embeds" in said("row1", "--by", "smell")
    assert f"row 'row{absent}' has no sound" in said(f"row{absent}", "--by", "sound")
    assert "--encoders names txet" in said("--ask", "text=a", "--encoders", "txet=clip")
    monkeypatch.setattr("gramalign.cli.search._embedded", embedded)
    assert "--k is 121, expected 1 to 120" in said("row1", "--k", "121")
    assert "--k is 0, expected 1 to 19" in said("row1", "--k", "0", "--part", "test")
    assert "--against is smell, but what is searched has sound, text, video" in said(
        *("row1", "--against", "text", "smell")
    )
    assert "leave out --part or --index" in said("row1", "--part", "test", "--index", "x")
    assert "got neither of QUERY and --ask" in said()
    index = "--save-index", str(tmp_path / "x.safetensors")
    assert "got neither of QUERY and --ask" in said("--index", "x", *index)
    assert "--against is for a query: leave it out, or give" in said("--against", "text", *index)
    assert not (tmp_path / "x.safetensors").exists()


def test_a_query_without_hits_is_told_in_a_line(capsys):
    console().print(table(Found("zero", ["text"], "cosine", []), "sound"))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and said[1].startswith("no hits: ") and "zeros" in said[1]


TINY = ["--steps", "4", "--optimizer.warmup", "1", "--batch-size", "16", "--model.dim", "8"]
TINY += ["--model.hidden", "8", "--modalities", "text", "video"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objectives", "clip", "1*clip"], "objectives names a value twice: clip, 1*clip"),
        (["--scores", "own", "volume", "own"], "scores names a value twice"),
        (["--data", "digits", "digits"], "data names a value twice"),
        (["--data", "a/digits", "b/digits"], "a/digits, b/digits would share a folder"),
        (["--seeds", "0"], "error: --seeds is 0, expected at least 1"),
        (["--scores"], "error: --scores: got none, expected"),
        (
            ["--objectives", "vast", "clip", "--scores", "fused"],
            "which clip does not have; give own",
        ),
        (["--data", "nowhere/there"], "nowhere/there"),
        (["--objective", "gram"], "give the objectives with --objectives"),
    ],
)
def test_compare_refuses_before_it_trains(words, message, tmp_path, capsys):
    assert message in complaint(capsys, "compare", "--out", str(tmp_path), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compare_over_data_scores_and_seeds(store, tmp_path, capsys):
    out = tmp_path / "comparison"
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    views = {name: np.load(store / f"{name}.npy")[:90] for name in ("text", "video")}
    for path, order in ((one, slice(None)), (other, slice(None, None, -1))):
        np.savez(path, **{m: x[order] for m, x in views.items()}, groups=np.arange(90) // 2)
    words = ["compare", "--objectives", "clip", "gram", "--seed", "3", *TINY]
    words += ["--scores", "own", "volume"]
    main([*words, "--data", str(one), str(other), "--out", str(out), "--seeds", "1"])
    assert "R@1 in percent on" in capsys.readouterr().out
    records = [out / name / "compare.json" for name in ("one", "other")]
    assert all(json.loads(record.read_text())["seeds"] == [3] for record in records)

    # On one of them alone, the same runs are found in the same place, and others join them.
    trained = {path: path.stat().st_mtime_ns for path in out.glob("**/params.safetensors")}
    assert len(trained) == 4
    folder = out / "other"
    main([*words, "--data", str(other), "--out", str(folder), "--seeds", "2"])
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert "±" in capsys.readouterr().out

    record = json.loads((folder / "compare.json").read_text())
    assert record["seeds"] == [3, 4] and record["scores"] == ["own", "volume"]
    assert record["own_scores"] == {"clip": "cosine", "gram": "volume"}
    assert set(record["figures"]) == {"clip", "gram", "linear GCCA"}
    under = [f"pair R@1, {score}" for score in ("cosine", "own", "volume")]
    assert all(list(row) == under for row in record["figures"].values())
    # What the runs keep is what is compared.
    means = []
    for seed in (3, 4):
        run = folder / "gram" / f"seed{seed}"
        config = json.loads((run / "config.json").read_text())
        assert set(config["settings"]) == {"gram"} and config["seed"] == seed
        kept = json.loads((run / "evaluation.json").read_text())
        assert kept["score"] == "volume"
        means.append(kept["summary"]["rest -> one R@1, volume"])
    for score in ("own", "volume"):
        found = record["figures"]["gram"][f"pair R@1, {score}"]
        assert found["mean"] == pytest.approx(np.mean(means))
    assert (folder / "compare.md").read_text().count("| gram |") == 2
    assert (folder / "compare.tex").read_text().count("toprule") == 2


@pytest.mark.slow
def test_a_fusion_is_evaluated_and_embedded(store, run, small, tmp_path, capsys):
    """VAST trains an anchor's cosine with the others' fusion, and so it is what finds tuples."""
    out = tmp_path / "fusing"
    words = ["train", "--data", str(store), "--out", str(out), "--objective", "vast"]
    words += ["--steps", "200", *small[2:]]
    main([*words, "--vast.anchor", "text", "--no-evaluation"])
    main(["evaluate", str(out)])
    record = json.loads((out / "evaluation.json").read_text())
    assert record["score"] == "fused"
    of_text, of_sound = (
        next(r for r in record["retrieval"] if r["query"] == [one] and len(r["gallery"]) == 2)
        for one in ("text", "sound")
    )
    assert of_text["score"] == "fused" and of_text["recall"]["1"] > 3 * of_text["chance"]["1"]
    assert of_sound["queries"] == 0

    embedded, few = tmp_path / "embedded.npz", tmp_path / "few.npz"
    rows = {name: np.load(store / f"{name}.npy")[:4] for name in ("sound", "text", "video")}
    gaps = {"present.sound": np.arange(4) > 1, "present.video": np.arange(4) % 2 == 1}
    np.savez(few, **rows, **gaps)
    main(["embed", str(out), "--data", str(few), "--out", str(embedded), "--fused", "vast"])
    fused = open_store(embedded)
    assert set(fused.modalities) == {"sound", "text", "video", "sound+video"}
    there = fused.present["sound+video"]
    assert there.tolist() == [False, True, True, True], "of either part"
    norms = np.linalg.norm(fused.features["sound+video"], axis=1)
    np.testing.assert_allclose(norms, there, rtol=1e-5)

    (one,) = searched(capsys, str(out), "0", "--data", str(few))
    assert one["score"] == "cosine" and len(one["hits"]) == 3, "all that have any of the others"

    words = ["embed", str(run), "--data", str(store), "--out", str(embedded), "--fused", "vast"]
    assert "a term of the objective that fuses modalities: it has none" in complaint(capsys, *words)
    assert "fuses nothing" in complaint(capsys, "evaluate", str(run), "--score", "fused")


def test_a_run_goes_on_with_its_own_options(run, capsys, tmp_path):
    stopped = shutil.copytree(run, tmp_path / "run")
    (stopped / "params.safetensors").unlink()
    words = ["train", "--out", str(stopped), "--resume", "--no-evaluation"]
    said = complaint(capsys, *words, "--steps", "40")
    assert "steps: 30 -> 40. Leave these out" in said and "gram." not in said
    main(words)
    for name in ("params.safetensors", "config.json"):
        assert (stopped / name).read_bytes() == (run / name).read_bytes()
    assert "model.dim: 8 -> 64" in complaint(capsys, "train", "digits", *words[1:])


def test_what_is_resumed_is_there_or_named(store, tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO", "gramalign")
    monkeypatch.chdir(tmp_path)
    words = ["train", "--resume", "--no-evaluation"]
    for out, wanted in ([], "runs/digits"), (["--out", "mine"], "mine"):
        assert f"no run in {wanted} to resume" in complaint(capsys, *words, *out)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("gramalign.cli.train.train", lambda *_, **how: None)
    for of in [*words, "--data", str(store)], ["train", "digits", *words[1:]]:
        caplog.clear()
        main([*of, "--steps", "0", "--optimizer.warmup", "0", "--out", "mine"])
        assert "nothing to resume in mine: a new run" in caplog.text


@pytest.mark.slow
def test_classes_may_have_names(store, small, tmp_path, capsys):
    """All figures are those of numbers in the same order, and tables call the classes by name."""
    named = shutil.copytree(store, tmp_path / "named")
    numbers = np.load(store / "labels.npy")
    np.save(named / "labels.npy", np.array(["bird", "cat", "dog", "elk"])[numbers])
    found = []
    for data in (store, named):
        out, embedded = tmp_path / f"run-{data.name}", tmp_path / f"{data.name}.npz"
        words = ["--objective", "supcon", "--out", str(out), "--no-evaluation", *small]
        main(["train", "--data", str(data), *words])
        main(["evaluate", str(out)])
        main(["classify", str(out)])
        main(["embed", str(out), "--data", str(data), "--out", str(embedded)])
        main(["embed", str(out), "--data", str(data), "--out", str(tmp_path / "x.safetensors")])
        main(["pack", str(data), str(tmp_path / f"packed-{data.name}")])
        capsys.readouterr()
        main(["search", str(out), "row3", "--json"])
        hits = json.loads(capsys.readouterr().out)[0]["hits"]
        figures = json.loads((out / "evaluation.json").read_text())
        assert load(str(embedded)).labels.tolist() == load(str(data)).labels.tolist()
        assert load(str(tmp_path / f"packed-{data.name}")).labels.dtype.kind in "iU"
        assert (open_store(tmp_path / "x.safetensors").labels is None) == (data is named)
        known = np.load(data / "labels.npy")
        assert all(hit["label"] == known[int(hit["id"][3:])] for hit in hits)
        with np.load(out / "predictions.npz", allow_pickle=False) as predictions:
            names = [name for name in predictions.files if not name.startswith("rank")]
            right = {name: predictions[name] == predictions["labels"] for name in names}
        found.append((figures["by_label"], figures["summary"], right))
    (by_label, summary, right), (of_names, summary_of_names, right_of_names) = found
    assert by_label == of_names and summary == summary_of_names
    np.testing.assert_equal(right_of_names, right)


def test_tables_are_shown_before_the_folder_refuses_them(run, monkeypatch, capsys):
    def refused(*_):
        raise OSError(30, "Read-only file system", str(run))

    for module, name in (("evaluate", "write_with_rows"), ("classify", "write_with_rows")):
        monkeypatch.setattr(f"gramalign.cli.{module}.{name}", refused)
    monkeypatch.setattr("gramalign.cli.robustness.write_figures", refused)
    for words in (["evaluate"], ["classify"], ["robustness", "--curves", "missing"]):
        with pytest.raises(SystemExit):
            main([*words, str(run)])
        printed = capsys.readouterr()
        assert "Read-only file system" in printed.err
        assert "cosine" in printed.out and len(printed.out.splitlines()) > 8


def test_the_home_folder_is_found_whatever_the_shell_expands(run, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(run.parent))
    main(["runs", f"~/{run.name}", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["run"] == str(run)


def test_errors_name_the_cure(run, store, small, capsys, tmp_path):
    again = ["train", "--data", str(store), "--out", str(run), *small]
    assert "--resume" in complaint(capsys, *again)
    assert "digits" in complaint(capsys, "train", "no-such-preset")
    assert "'digits'" in complaint(capsys, "train", "--data", str(tmp_path / "absent"))
    assert "it is a run, so give its data" in complaint(capsys, "train", "--data", str(run))
    assert "gram, log_volume" in complaint(capsys, "train", "--objective", "gram + nonsense")
    assert "no run was started in it" in complaint(capsys, "evaluate", str(tmp_path))
    assert f"--data {tmp_path}" in complaint(capsys, "train", str(tmp_path))
    words = ["--cluster.coordinator", "host", "--cluster.processes", "2", "--cluster.process", "0"]
    assert "is 'host', expected HOST:PORT, such as" in complaint(capsys, "train", *words)
    lonely = tmp_path / "lonely.npz"
    np.savez(lonely, a=np.eye(3), b=np.eye(3), split=np.array(["train", "train", "test"]))
    told = complaint(capsys, "train", "--data", str(lonely))
    assert "has 1 test row, expected at least 2" in told and "or give --no-evaluation" in told
    compared = tmp_path / "compared"
    told = complaint(capsys, "compare", "--data", str(lonely), "--out", str(compared))
    assert "has 1 test row" in told and "--part" not in told and not compared.exists()
    told = complaint(capsys, "evaluate", str(run), "--data", str(lonely))
    assert f"{lonely} has 1 test row, expected" in told and "or measure another --part" in told
    split = np.repeat(["test", "train"], [2, 8])
    rows = np.eye(10, dtype=np.float32)
    pack(from_arrays({"a": rows, "b": rows, "split": split}), tmp_path / "packed", shard_rows=1)
    spoil(min((tmp_path / "packed").glob("*.array_record*")))
    told = complaint(capsys, "train", "--data", str(tmp_path / "packed"), "--on-bad-record", "skip")
    assert "has 1 test row, expected at least 2" in told and "or give --no-evaluation" in told
    found = load_run(run)
    alone = replace(found, config=replace(found.config, data=str(lonely)), trained_on=None)
    with pytest.raises(ValueError, match="array 'split'$"):  # as a report does
        evaluate_run(alone)
    untested = tmp_path / "untested.npz"
    views = {name: np.load(store / f"{name}.npy") for name in ("text", "video")}
    np.savez(untested, **views, split=np.repeat("train", 120))
    assert "Or give --no-evaluation" in complaint(capsys, "train", "--data", str(untested))
    for words in (["evaluate", str(run)], ["search", str(run), "0"]):
        told = complaint(capsys, *words, "--data", str(untested), "--part", "test")
        assert "has no rows in split 'test'" in told and "another --part" in told
    text = tmp_path / "out.txt"
    assert ".npz" in complaint(capsys, "embed", str(run), "--data", str(store), "--out", str(text))
    assert "--optimizer.warmup" in complaint(
        capsys, "train", "digits", "--steps", "10", "--optimizer.warmup", "10"
    )


def test_a_preset_may_be_any_file_that_sets_config(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("config = 3\n")
    assert "gramalign.training.Config" in complaint(capsys, "train", str(path))


def test_it_is_a_module_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gramalign", "--help"])
    logger = logging.getLogger("gramalign")
    for name, value in {"handlers": [], "level": 0, "propagate": True}.items():
        monkeypatch.setattr(logger, name, value)  # as before again for other tests
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("gramalign", run_name="__main__", alter_sys=True)
    assert stop.value.code == 0
    assert "gramalign train digits" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 300


def test_what_looks_like_markup_is_printed(run, store, tmp_path, capsys):
    rows = {name: np.load(store / f"{name}.npy")[:4] for name in ("text", "video")}
    names = np.array(["[x]", "[/x]", "[bold]", ":x:"])
    np.savez(tmp_path / "rows.npz", **rows, ids=names, labels=names)
    words = ["--data", str(tmp_path / "rows.npz"), "--part", "all"]
    main(["search", str(run), "[x]", "--k", "4", *words])
    said = capsys.readouterr().out
    assert all(said.count(name) >= 2 for name in names), "an id and a label each"
    out = tmp_path / "b[x]"
    main(["evaluate", str(run), *words, "--out", str(out)])
    assert "b[x]/evaluation.json" in capsys.readouterr().out.replace("\n", "")

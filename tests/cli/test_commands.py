"""The commands end to end on a tiny store, and what they say when something is wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.cli.embed import without_text
from gramalign.data import load, open_store

SMALL = ["--steps", "30", "--optimizer.warmup", "3", "--batch-size", "16", "--log-every", "10"]
SMALL += ["--model.dim", "8", "--model.hidden", "16", "--checkpoint-every", "15"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """120 examples of three views of four hidden numbers, one view often absent."""
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(120, 4))
    for name, width in (("sound", 6), ("text", 7), ("video", 9)):
        view = np.tanh(hidden @ rng.normal(size=(4, width)))
        np.save(folder / f"{name}.npy", view.astype(np.float32))
    np.save(folder / "present.sound.npy", rng.random(120) < 0.8)
    np.save(folder / "ids.npy", np.array([f"row{i}" for i in range(120)]))
    return folder


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A run trained on that store through the command line."""
    out = tmp_path_factory.mktemp("runs") / "small"
    main(
        ["train", "--data", str(store), "--out", str(out), "--no-evaluation", *SMALL]
        + ["--gram.label-smoothing", "0.05", "--gram.anchor", "text"]
    )
    return out


def complaint(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    return capsys.readouterr().err


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


def test_evaluate_prints_tables_and_keeps_figures(run, capsys):
    main(["evaluate", str(run)])
    printed = capsys.readouterr().out
    for word in ("sound", "text", "video", "volume", "cosine", "chance", "R@1"):
        assert word in printed
    record = json.loads((run / "evaluation.json").read_text())
    assert record["score"] == "volume" and record["part"] == "test"
    assert len(record["retrieval"]) == 24
    with np.load(run / "ranks.npz") as ranks:
        assert len(ranks["ids"]) == record["examples"]
        for task in record["retrieval"]:
            name = f"{'+'.join(task['query'])} -> {'+'.join(task['gallery'])}, {task['score']}"
            found = ranks[name][ranks[name] > 0]
            assert np.mean(found <= 5) == pytest.approx(task["recall"]["5"] / 100)
        assert any(name.endswith(", baseline") for name in ranks)


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


def test_embed_keeps_the_parts_in_safetensors_too(run, store, tmp_path, capsys):
    out = tmp_path / "embedded.safetensors"
    main(["embed", str(run), "--data", str(store), "--out", str(out)])
    assert list(open_store(out).split) == list(load(str(store)).split)


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


def test_embed_does_not_write_over_its_features(run, tmp_path, capsys):
    features = tmp_path / "features.npz"
    np.savez(features, text=np.ones((3, 2)), sound=np.ones((3, 2)))
    with pytest.raises(SystemExit):
        main(["embed", str(run), "--data", str(features), "--out", str(features)])
    assert "the features themselves" in capsys.readouterr().err


def test_compare_refuses_one_objective_in_two_spellings(store, tmp_path, capsys):
    words = ["compare", "--data", str(store), "--out", str(tmp_path), "--objectives"]
    with pytest.raises(SystemExit):
        main([*words, "clip", "1*clip"])
    assert "objectives names one twice" in capsys.readouterr().err


def test_compare_resumes_and_reports_intervals(store, tmp_path, capsys):
    out = tmp_path / "comparison"
    words = ["compare", "--data", str(store), "--out", str(out), "--objectives", "clip", "pmrl"]
    words += ["--seeds", "2", "--seed", "3", *SMALL]
    main(words)
    first = (out / "compare.json").read_text()
    trained = (out / "clip" / "seed4" / "params.safetensors").stat().st_mtime_ns
    assert json.loads(first)["seeds"] == [3, 4]
    config = json.loads((out / "clip" / "seed4" / "config.json").read_text())
    assert set(config["settings"]) == {"clip"}
    figures = json.loads(first)["figures"]["clip"]
    assert {"pair R@1, cosine", "rest -> one R@1, own"} <= set(figures)
    assert json.loads(first)["scores"] == {"clip": "cosine", "pmrl": "spectral"}
    main(words)
    assert (out / "compare.json").read_text() == first
    assert (out / "clip" / "seed4" / "params.safetensors").stat().st_mtime_ns == trained
    assert "±" in capsys.readouterr().out
    main([*words, "--score", "volume"])
    figures = json.loads((out / "compare.json").read_text())["figures"]
    assert "rest -> one R@1, volume" in figures["clip"]
    assert (out / "clip" / "seed4" / "params.safetensors").stat().st_mtime_ns == trained


def test_a_fusion_is_evaluated_and_embedded(store, run, tmp_path, capsys):
    """VAST trains an anchor's cosine with the others' fusion, and so it is what finds tuples."""
    out = tmp_path / "fusing"
    words = ["train", "--data", str(store), "--out", str(out), "--objective", "vast", *SMALL]
    main([*words, "--steps", "200", "--vast.anchor", "text", "--no-evaluation"])
    main(["evaluate", str(out)])
    record = json.loads((out / "evaluation.json").read_text())
    assert record["score"] == "fused"
    of_text, of_sound = (
        next(r for r in record["retrieval"] if r["query"] == [one] and len(r["gallery"]) == 2)
        for one in ("text", "sound")
    )
    assert of_text["score"] == "fused" and of_text["recall"]["1"] > 3 * of_text["chance"]["1"]
    assert of_sound["queries"] == 0

    embedded = tmp_path / "embedded.npz"
    main(["embed", str(out), "--data", str(store), "--out", str(embedded), "--fused", "vast"])
    fused = open_store(embedded)
    assert set(fused.modalities) == {"sound", "text", "video", "sound+video"}
    there = fused.present["sound+video"]
    assert there.all()  # video always is
    np.testing.assert_allclose(np.linalg.norm(fused.features["sound+video"], axis=1), 1, rtol=1e-5)

    words = ["embed", str(run), "--data", str(store), "--out", str(embedded), "--fused", "vast"]
    assert "those that fuse modalities are []" in complaint(capsys, *words)
    assert "no fused embeddings" in complaint(capsys, "evaluate", str(run), "--score", "fused")


def test_errors_name_the_cure(run, store, capsys, tmp_path):
    again = ["train", "--data", str(store), "--out", str(run), *SMALL]
    assert "--resume" in complaint(capsys, *again)
    assert "digits" in complaint(capsys, "train", "no-such-preset")
    assert "'digits'" in complaint(capsys, "train", "--data", str(tmp_path / "absent"))
    assert "gram, log_volume" in complaint(capsys, "train", "--objective", "gram + nonsense")
    assert "no run was started there" in complaint(capsys, "evaluate", str(tmp_path))
    text = tmp_path / "out.txt"
    assert ".npz" in complaint(capsys, "embed", str(run), "--data", str(store), "--out", str(text))
    assert "--objectives" in complaint(capsys, "compare", "--objective", "clip")
    assert "Optimizer.warmup" in complaint(capsys, "train", "digits", "--steps", "10")


def test_a_preset_may_be_any_file_that_sets_config(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("config = 3\n")
    assert "gramalign.training.Config" in complaint(capsys, "train", str(path))


def test_it_is_a_module_too():
    command = [sys.executable, "-m", "gramalign", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "gramalign train digits" in printed


COMMANDS = ["train", "evaluate", "classify", "embed", "compare", "methods", "bench", "plan"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 300

"""`gramalign classify` on a tiny run."""

import json

import numpy as np
import pytest

from gramalign.cli import main

SMALL = ["--steps", "30", "--optimizer.warmup", "3", "--batch-size", "16", "--log-every", "10"]
SMALL += ["--model.dim", "8", "--model.hidden", "16", "--checkpoint-every", "15"]


def arrays(rows, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3 * 5
    hidden = np.eye(15)[labels] * 3 + 0.3 * rng.normal(size=(rows, 15))
    weights = np.random.default_rng(1)
    views = {name: hidden @ weights.normal(size=(15, 6)) for name in ("sound", "text")}
    split = np.where(np.arange(rows) < rows // 2, "train", "test")
    return {**{k: x.astype(np.float32) for k, x in views.items()}, "labels": labels, "split": split}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    np.savez(folder / "store.npz", **arrays(90))
    words = ["train", "--data", str(folder / "store.npz"), "--out", str(folder / "run")]
    main([*words, "--objective", "clip", "--no-evaluation", *SMALL])
    return folder / "run"


def complaint(capsys, *args):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_classify_prints_a_table_and_keeps_figures(run, capsys):
    main(["classify", str(run)])
    printed = capsys.readouterr().out
    for word in ("text -> sound", "linear probe", "nearest neighbours", "macro-F1", "chance"):
        assert word in printed
    record = json.loads((run / "classification.json").read_text())
    assert (record["part"], record["train_rows"], record["test_rows"]) == ("test", 45, 45)
    assert not record["zero_shot"] and len(record["prompts"]) == 2
    assert record["probe"][-1]["modalities"] == ["sound", "text"]
    with np.load(run / "predictions.npz") as found:
        hits = found["predicted, probe, text"] == found["labels"]
        text = next(each for each in record["probe"] if each["modalities"] == ["text"])
        assert 100 * hits.mean() == pytest.approx(text["accuracy"]["1"]["value"])
        assert len(found["ids"]) == 45


def test_prompts_may_come_from_a_store_of_their_own(run, tmp_path, capsys):
    path = tmp_path / "prompts.npz"
    given = arrays(6, seed=2)
    np.savez(path, text=given["text"], labels=given["labels"])
    words = ["classify", str(run), "--prompts-from", str(path)]
    main([*words, "--prompts", "text"])
    record = json.loads((run / "classification.json").read_text())
    assert record["zero_shot"] and record["prompts_from"] == str(path)
    assert [each["prompts"] for each in record["prompts"]] == ["text"]
    assert "given prompts" in capsys.readouterr().out
    assert "wanted --prompts too" in complaint(capsys, *words)
    assert "no modality 'sound'" in complaint(capsys, *words, "--prompts", "sound")


def test_errors_name_the_cure(run, tmp_path, capsys):
    path = tmp_path / "store.npz"
    good = arrays(90)

    def said(**changed):
        kept = {name: x for name, x in {**good, **changed}.items() if x is not None}
        np.savez(path, **kept)
        return complaint(capsys, "classify", str(run), "--data", str(path))

    assert "give it an array 'labels'" in said(labels=None)
    assert "are of class 4, wanted two classes" in said(labels=np.full(90, 4))
    foreign = np.where(np.arange(90) == 89, 77, good["labels"])
    assert "1 of 45 rows are of classes that no training row has: 77" in said(labels=foreign)
    assert "wanted one of sound, text" in complaint(capsys, "classify", str(run), "--prompts", "x")
    assert not (run / "classification.json.part").exists()

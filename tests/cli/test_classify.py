"""`gramalign classify` on a tiny run."""

import json

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.data import digest, load
from tests.complaint import complaint


@pytest.mark.slow
def test_classify_prints_a_table_and_keeps_figures(run, store, capsys):
    main(["classify", str(run)])
    printed = capsys.readouterr().out
    for word in ("text -> rest", "linear probe", "nearest neighbours", "macro-F1", "chance"):
        assert word in printed
    record = json.loads((run / "classification.json").read_text())
    train, test = (len(load(str(store)).part(part)) for part in ("train", "test"))
    assert (record["part"], record["train_rows"], record["test_rows"]) == ("test", train, test)
    assert not record["zero_shot"] and len(record["prompts"]) == 6
    assert record["probe"][-1]["modalities"] == ["sound", "text", "video"]
    with np.load(run / "predictions.npz") as found:
        hits = found["predicted, probe, text"] == found["labels"]
        text = next(each for each in record["probe"] if each["modalities"] == ["text"])
        assert 100 * hits.mean() == pytest.approx(text["accuracy"]["1"]["value"])
        assert len(found["ids"]) == test


def test_prompts_may_come_from_a_store_of_their_own(run, store, tmp_path, capsys):
    path = tmp_path / "prompts.npz"
    np.savez(path, **{name: np.load(store / f"{name}.npy")[:40] for name in ("text", "labels")})
    words = ["classify", str(run), "--prompts-from", str(path)]
    main([*words, "--prompts", "text"])
    record = json.loads((run / "classification.json").read_text())
    assert record["zero_shot"] and record["prompts_from"] == str(path)
    assert record["prompts_digest"] == digest(load(str(path)))
    assert (record["data"], record["score"]) == (str(store), "volume"), "the run's own"
    assert record["options"] == ["--data", str(store), "--prompts", "text", *words[2:]]
    test = load(str(store)).part("test")
    with np.load(run / "predictions.npz") as found:
        assert found["ids"].tolist() == test.ids.tolist()
        assert found["labels"].tolist() == test.labels.tolist()
    assert {each["prompts"] for each in record["prompts"]} == {"text"}
    assert "given prompts" in capsys.readouterr().out
    assert "is not: add --prompts, one of" in complaint(capsys, *words)
    assert "no modality 'sound'" in complaint(capsys, *words, "--prompts", "sound")


def test_errors_name_the_cure(run, store, tmp_path, capsys):
    path = tmp_path / "store.npz"
    good = {name: np.load(store / f"{name}.npy") for name in ("sound", "text", "video", "labels")}
    good["split"] = np.where(np.arange(120) < 75, "train", "test")

    def said(**changed):
        kept = {name: x for name, x in {**good, **changed}.items() if x is not None}
        np.savez(path, **kept)
        return complaint(capsys, "classify", str(run), "--data", str(path))

    assert "give it an array 'labels'" in said(labels=None)
    assert "rows of one class, 4, expected at least two classes" in said(labels=np.full(120, 4))
    foreign = np.where(np.arange(120) == 119, 77, good["labels"])
    assert "1 of 45 rows are of classes that no training row has: 77" in said(labels=foreign)
    wanted = "expected one of sound, text, video"
    assert wanted in complaint(capsys, "classify", str(run), "--prompts", "x")
    assert not list(run.glob("*.part"))


@pytest.mark.parametrize("part, sizes", [("test", (60, 25, 35)), ("validation", (60, 35, None))])
def test_rows_that_are_measured_choose_nothing(part, sizes, run, store, tmp_path, monkeypatch):
    arrays = {name: np.load(store / f"{name}.npy") for name in ("sound", "text", "video", "labels")}
    split = np.repeat(["train", "validation", "test"], [60, 35, 25])
    np.savez(tmp_path / "store.npz", **arrays, split=split)
    seen = []

    def classify(known, asked, *, validation, **how):
        seen.extend([len(known), len(asked), validation and len(validation)])
        assert how == {"score": "spectral", "prompts": "text"}, "what was asked for"
        raise ValueError("enough")

    monkeypatch.setattr("gramalign.cli.classify.classify", classify)
    words = ["--data", str(tmp_path / "store.npz"), "--part", part]
    with pytest.raises(SystemExit):
        main(["classify", str(run), *words, "--score", "spectral", "--prompts", "text"])
    assert tuple(seen) == sizes

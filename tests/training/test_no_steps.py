"""Runs of no steps: pretrained towers, or embeddings of one space already, as they are."""

import json

import numpy as np
import pytest

from gramalign.cli.main import main
from gramalign.data import load
from gramalign.evaluation import evaluate
from gramalign.training import Config, Model, Optimizer, Validation, embed_store, load_run, train
from gramalign.training.run_data import rows_of
from tests.complaint import complaint

IDENTITY = "gramalign.models:Identity"


@pytest.fixture
def embeddings(tmp_path):
    """A store of 40 rows, of three modalities in one space of 8."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(40, 8))
    arrays = {m: centre + rng.normal(size=(40, 8)) for m in ("text", "audio", "video")}
    path = tmp_path / "embeddings.npz"
    np.savez(path, **arrays, **{"present.audio": np.arange(40) % 3 > 0})
    return str(path)


def as_they_are(data, **others):
    return Config(data=data, steps=0, model=Model(dim=8, tower=IDENTITY), **others)


def test_embeddings_are_evaluated_as_they_are(embeddings, tmp_path):
    run = train(as_they_are(embeddings), tmp_path / "run")
    assert run.step == 0
    test = load(embeddings).part("test")
    found = embed_store(run, test)
    for name, rows in found.items():
        raw = np.asarray(test.features[name])
        wanted = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        wanted[~np.asarray(test.present[name])] = 0
        np.testing.assert_allclose(rows, wanted, atol=1e-6)
    again = load_run(tmp_path / "run")
    alone = evaluate(found, test.present).to_json()
    assert evaluate(embed_store(again, test), test.present).to_json() == alone


def test_all_rows_may_be_for_evaluation(embeddings, tmp_path, capsys, caplog):
    np.savez(tmp_path / "all.npz", **np.load(embeddings), split=np.repeat("test", 40))
    words = ["train", "--data", str(tmp_path / "all.npz"), "--objective", "gram"]
    words += ["--out", str(tmp_path / "run")]
    marked = "mark some rows as 'train' in the array 'split'\n"
    assert f"it has test (40): {marked}" in complaint(capsys, *words)
    standardised = "no training rows, by which towers standardise audio, text, video: mark"
    assert standardised in complaint(capsys, *words, "--steps", "0")
    run = train(as_they_are(words[2]), tmp_path / "run")
    assert len(rows_of(run, None, "test")) == 40 and "has changed since" not in caplog.text


def test_commands_take_such_a_run(embeddings, tmp_path, capsys):
    out = str(tmp_path / "run")
    towers = ["--model.tower", IDENTITY, "--model.dim", "8", "--steps", "0"]
    validated = ["--objective", "gram", "--validation.every", "5"]
    main(["train", "--data", embeddings, *towers, *validated, "--out", out])
    told = capsys.readouterr().out
    assert "compiling" not in told and "was best" not in told
    index = str(tmp_path / "index.safetensors")
    main(["search", out, "4", "--by", "text", "--save-index", index])
    main(["search", out, "4", "--by", "text", "--index", index])
    assert "(the query)" in capsys.readouterr().out
    main(["runs", str(tmp_path), "--json"])
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["state"], told["step"], told["steps"]) == ("finished", 0, 0)
    main(["report", out])
    main(["export", out, "--out", str(tmp_path / "exported")])
    assert load_run(tmp_path / "exported").step == 0
    several = ["--objectives", "clip", "gram", "--seeds", "1", "--out", str(tmp_path / "compared")]
    main(["compare", "--data", embeddings, *towers, *several])
    assert json.loads((tmp_path / "compared" / "compare.json").read_text())["steps"] == 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


def test_noise_makes_no_others_of_whole_numbers_that_are_taken_as_they_are(
    embeddings, tmp_path, capsys
):
    arrays = dict(np.load(embeddings))
    np.savez(tmp_path / "words.npz", **{**arrays, "text": np.rint(9 * arrays["text"]).astype(int)})
    train(as_they_are(str(tmp_path / "words.npz")), tmp_path / "run")
    asked = ["robustness", str(tmp_path / "run"), "--repeats", "1", "--curves", "noise"]
    main([*asked, "precision"])
    assert "no noise: text of whole numbers" in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "robustness.json").read_text())
    assert [curve["kind"] for curve in record["curves"]] == ["precision"]
    assert "as they are, and --curves names no others" in complaint(capsys, *asked)


def test_an_index_of_other_embeddings_is_refused(embeddings, tmp_path, capsys):
    other = dict(np.load(embeddings))
    np.savez(tmp_path / "other.npz", **{**other, "text": -other["text"]})
    for name, data in (("run", embeddings), ("other", str(tmp_path / "other.npz"))):
        train(as_they_are(data), tmp_path / name)
    index = str(tmp_path / "index.safetensors")
    main(["search", str(tmp_path / "run"), "4", "--by", "text", "--save-index", index])
    main(["search", str(tmp_path / "run"), "4", "--by", "text", "--index", index])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        of_other = ["--by", "text", "--data", str(tmp_path / "other.npz")]
        main(["search", str(tmp_path / "other"), "4", *of_other, "--index", index])
    assert end.value.code == 2
    assert "was embedded by run, not by" in " ".join(capsys.readouterr().err.split())


def test_other_widths_and_steps_are_refused(embeddings, tmp_path):
    with pytest.raises(ValueError, match=r"audio are 8 wide and the common space 64.*.dim 8"):
        train(Config(data=embeddings, steps=0, model=Model(tower=IDENTITY)), tmp_path / "run")
    config = Config(data=embeddings, steps=2, batch_size=8, model=Model(dim=8, tower=IDENTITY))
    with pytest.raises(ValueError, match="numbers: give towers an nnx.Param, of which they have"):
        train(config, tmp_path / "run")
    with pytest.raises(ValueError, match="Config.steps is -1, expected at least 0"):
        Config(data=embeddings, steps=-1)
    with pytest.raises(ValueError, match="Optimizer.warmup is 1, expected fewer than Config.steps"):
        Config(data=embeddings, steps=0, optimizer=Optimizer(warmup=1))
    rates = Optimizer(rates=(("text", 0.0),))
    with pytest.raises(ValueError, match="'text', of no parameter; there are none"):
        train(as_they_are(embeddings, optimizer=rates), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_model_is_the_one_that_a_run_begins_with(embeddings, tmp_path):
    small = {"data": embeddings, "model": Model(dim=8, hidden=8), "batch_size": 16}
    small |= {"objective": "clip", "modalities": ("text", "audio")}
    begun = train(Config(steps=0, **small), tmp_path / "begun")
    slow = Optimizer(learning_rate=1e-9)
    after = train(Config(steps=1, optimizer=slow, **small), tmp_path / "after")
    rows = {"text": np.asarray(load(embeddings).features["text"])}
    np.testing.assert_allclose(after.embed(rows)["text"], begun.embed(rows)["text"], atol=1e-6)


def test_a_run_that_was_killed_is_gone_on_with_and_validation_has_nothing_to_say(
    embeddings, tmp_path
):
    validated = {"validation": Validation(every=1)}
    config = as_they_are(embeddings, objective="clip", batch_size=1000, **validated)
    folder = tmp_path / "run"
    wanted = train(config, folder)
    (folder / "params.safetensors").unlink()
    again = train(config, folder, resume=True)
    assert again.step == wanted.step == 0
    assert (folder / "params.safetensors").is_file()
    assert not (folder / "metrics.jsonl").read_text()

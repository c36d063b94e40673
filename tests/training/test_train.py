import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.data import load
from gramalign.training import (
    Config,
    Gram,
    Model,
    Optimizer,
    embed_store,
    load_run,
    train,
)
from gramalign.training.metrics import read_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_config):
    """A finished run, with the rows that it reported."""
    rows = []
    out = tmp_path_factory.mktemp("run")
    return train(small_config(steps=13), out, report=rows.append), rows


def test_what_a_run_leaves_behind(run):
    run, rows = run
    assert sorted(file.name for file in run.folder.iterdir()) == [
        *("checkpoints", "config.json", "digests", "environment.json", "fixed.safetensors"),
        *("lock", "metrics.jsonl", "params.safetensors", "timing.jsonl"),
    ]
    log = read_metrics(run.folder / "metrics.jsonl")
    assert [row["step"] for row in log] == [2, 4, 6, 8, 10, 12, 13]
    assert log == rows
    assert all(math.isfinite(value) for row in log for value in row.values())
    assert all(0 < row["leading_share"] <= 1 for row in log)
    kept = sorted(int(file.name) for file in (run.folder / "checkpoints").iterdir())
    assert kept == [12, 13]
    assert json.loads((run.folder / "environment.json").read_text())[0]["step"] == 0


def test_a_run_embeds_what_it_was_trained_on(run, small_store):
    run, _ = run
    store = load(small_store)
    embeddings = embed_store(run, store, batch_size=25)
    again = embed_store(load_run(run.folder), store.only(["audio"]), batch_size=60)
    assert {name: rows.shape for name, rows in embeddings.items()} == {
        "text": (60, 8),
        "audio": (60, 8),
    }
    np.testing.assert_allclose(np.linalg.norm(embeddings["text"], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(again["audio"], embeddings["audio"], atol=1e-5)
    assert list(again) == ["audio"]


def test_arrays_are_embedded_as_they_are_or_refused(run, small_store):
    run, _ = run
    text, audio = (np.load(small_store / f"{name}.npy")[:3] for name in ("text", "audio"))
    found = run.embed({"text": text.tolist(), "audio": audio.astype(np.float64)})
    rows = embed_store(run, load(small_store))
    for name, embedded in found.items():
        np.testing.assert_allclose(embedded, rows[name][:3], atol=1e-6)
    for features, present, message in (
        ({"text": text[:, :1]}, None, r"text has shape \[3, 1\], expected \[batch, 10\]"),
        ({"text": text[0]}, None, r"text has shape \[10\], expected"),
        (
            {"text": text, "audio": audio[:2]},
            None,
            "different numbers of rows: {'text': 3, 'audio': 2}",
        ),
        (
            {"text": text, "video": audio},
            None,
            r"present: got \['video'\], expected any of \['audio'",
        ),
        (
            {"text": text},
            {"text": np.ones(2, bool)},
            r"\['text'\] is bool\[2\], expected bool\[3\]",
        ),
        (
            {"text": text},
            {"text": np.ones(3)},
            r"present\['text'\] is float64\[3\], expected bool\[3\]",
        ),
        ({}, None, "features: got none, expected any of"),
        ({"text": text}, {"video": np.ones(3, bool)}, r"features or present: got \['video'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            run.embed(features, present)
    whole = np.round(10 * text).astype(np.int16)
    for numbers in (whole, jnp.asarray(whole), jnp.asarray(whole, jnp.bfloat16)):
        np.testing.assert_allclose(
            run.embed({"text": numbers})["text"],
            run.embed({"text": whole.astype(np.float32)})["text"],
            atol=1e-6,
        )
    named = run.embed({"text": text}, {"text": [True, False, True], "audio": np.ones(3, bool)})
    assert list(named) == ["text"]
    np.testing.assert_allclose(np.linalg.norm(named["text"], axis=1), [1, 0, 1], atol=1e-6)
    with pytest.raises(ValueError, match="fused is 'clip', expected a term .*: it has none"):
        run.embed({"text": text}, fused="clip")


def test_features_that_are_not_finite(run, small_store):
    run, _ = run
    text = np.load(small_store / "text.npy")[:4].astype(np.float64)
    broken = text.copy()
    broken[1:3, 0] = np.nan, 1e300
    for present in (None, {"text": np.array([False, True, True, True])}):
        with pytest.raises(ValueError, match=r"features\['text'\]: row 1 holds NaN .*2 such rows"):
            run.embed({"text": broken}, present)
    there = np.array([True, False, False, True])
    found, whole = run.embed({"text": broken}, {"text": there}), run.embed({"text": text})
    wanted = np.where(there[:, None], whole["text"], 0)
    np.testing.assert_allclose(found["text"], wanted, atol=1e-6)
    broken[2, 0] = np.inf
    on_device = run.embed({"text": jnp.asarray(broken, jnp.float32)})["text"]
    np.testing.assert_array_equal(np.isnan(on_device).any(axis=1), ~there)


@pytest.mark.parametrize("store", ["digits", {"text": np.ones((2, 10))}])
def test_what_is_no_store(run, store, unchecked):
    message = f"store: got {type(store).__name__}, expected a FeatureStore: .*data.load"
    with pytest.raises(TypeError, match=message):
        embed_store(run[0], store)


def test_a_run_is_shown_without_its_weights(run):
    run, _ = run
    assert len(repr(run)) < 2000 and repr(run.config) in repr(run)


def test_a_store_of_another_shape_is_refused(run, tmp_path):
    run, _ = run
    np.save(tmp_path / "text.npy", np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match="text has 3 features a row, but the run was .* on 10"):
        embed_store(run, load(tmp_path))
    (tmp_path / "text.npy").rename(tmp_path / "depth.npy")
    with pytest.raises(ValueError, match="has depth, expected any of the run's .*, audio, text"):
        embed_store(run, load(tmp_path))


def test_a_finished_run_is_returned_as_it_is(run, quiet):
    run, _ = run
    before = (run.folder / "environment.json").read_bytes()
    again = train(run.config, run.folder, resume=True, report=quiet)
    assert again.config == run.config
    assert (run.folder / "environment.json").read_bytes() == before


def test_only_a_finished_run_can_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run was started in it"):
        load_run(tmp_path)


def test_an_anchor_that_the_data_lacks_is_refused_before_a_file_is_written(
    tmp_path, small_config, quiet
):
    config = small_config(objective="gram", settings={"gram": Gram(anchor="video")})
    with pytest.raises(ValueError, match="Gram.anchor is 'video', expected None or one of"):
        train(config, tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()


def test_a_bucket_is_refused_before_a_folder_of_its_name_is_made(
    tmp_path, small_config, quiet, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="copy from the address"):
        train(small_config(), "gs://bucket/run", report=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_training_on_digits_beats_chance_by_far(tmp_path, quiet):
    config = Config(
        modalities=tuple(load("digits").modalities[:2]),
        objective="clip",
        model=Model(dim=32, hidden=64),
        optimizer=Optimizer(learning_rate=3e-3, warmup=20),
        steps=300,
        batch_size=64,
    )
    run = train(config, tmp_path, report=quiet)
    test = load("digits").part("test")
    a, b = embed_store(run, test).values()
    recall = np.mean(np.argmax(a @ b.T, axis=1) == np.arange(len(test)))
    assert recall > 30 / len(test), f"R@1 {recall:.3f}, chance {1 / len(test):.3f}"

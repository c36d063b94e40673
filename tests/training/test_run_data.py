"""A run knows the data again that it was trained on."""

import contextlib
import dataclasses
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from gramalign.cli import main
from gramalign.cli.evaluate import evaluate_run
from gramalign.cli.queries import queries
from gramalign.data import FeatureStoreError, digest, from_arrays, load, same_rows
from gramalign.data.packed import pack
from gramalign.evaluation import evaluate
from gramalign.training import embed_store, export, load_run, train
from gramalign.training.log import Log
from gramalign.training.measure import embed_labelled, embed_prompts, measure
from gramalign.training.params_file import save_params
from gramalign.training.run_data import data_of, rows_of
from gramalign.training.run_folder import RunFolder
from gramalign.training.validating import Validator
from tests.shards import spoil


def made():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(60, 4)).astype(np.float32) for name in ("text", "audio")}


@pytest.fixture
def arrays():
    return made()


@pytest.fixture(scope="module")
def trained(small_config, tmp_path_factory, quiet):
    """The folder of a run and its data, which it knows by their place beside it."""
    root = tmp_path_factory.mktemp("trained")
    np.savez(root / "data.npz", **made())
    with contextlib.chdir(root):
        train(small_config(data="data.npz", steps=3), root / "run", report=quiet)
    return root


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return load_run(tmp_path / "run")


def shuffled(path, arrays):
    np.savez(path, **{name: x[::-1] for name, x in arrays.items()})


def test_data_that_are_what_they_were(run, tmp_path, caplog):
    made = export(run.folder, tmp_path / "other")
    assert made.trained_on == run.trained_on is not None
    for each in (run, made, load_run(run.folder)):
        assert len(data_of(each)) == 60 and not caplog.records
    store = load(run.config.data)
    assert run.trained_on == digest(store.part("train")) != digest(store.part("test"))


def test_data_that_have_changed(run, arrays, tmp_path, caplog, quiet):
    shuffled(tmp_path / "data.npz", arrays)
    assert len(data_of(run)) == 60
    (record,) = caplog.records
    assert "has changed since" in record.getMessage() and "data.npz" in record.getMessage()
    assert len(data_of(run, str(tmp_path / "data.npz"))) == 60  # asked for by name
    assert len(caplog.records) == 1
    np.savez(tmp_path / "data.npz", text=arrays["text"], video=arrays["audio"])
    data_of(run)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_does_not_go_on_with_other_data(run, finished, arrays, tmp_path, quiet):
    if not finished:
        (run.folder / "params.safetensors").unlink()
    assert train(run.config, run.folder, resume=True, report=quiet).step == 3
    shuffled(tmp_path / "data.npz", arrays)
    with pytest.raises(ValueError, match="data.npz has changed since the run in .* began"):
        train(run.config, run.folder, resume=True, report=quiet)


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_goes_on_with_data_that_have_moved(run, finished, arrays, tmp_path, quiet):
    if not finished:
        (run.folder / "params.safetensors").unlink()
    moved = dataclasses.replace(run.config, data=str(tmp_path / "elsewhere.npz"))
    (tmp_path / "data.npz").rename(moved.data)
    again = train(moved, run.folder, resume=True, report=quiet)
    assert again.config == moved
    assert RunFolder(run.folder).saved_config() == load_run(run.folder).config == moved
    assert export(run.folder, tmp_path / "exported").config == moved
    assert len(data_of(again)) == 60
    jax.tree.map(np.testing.assert_array_equal, again.variables, run.variables)
    shuffled(moved.data, arrays)
    with pytest.raises(ValueError, match="elsewhere.npz has changed since"):
        train(moved, run.folder, resume=True, report=quiet)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_run_that_cannot_tell_its_data_has_them_for_good(run, earlier, tmp_path, quiet):
    """It has measured nothing yet, or an earlier version kept no digest."""
    (run.folder / "params.safetensors").unlink()
    statistics = run.folder / "fixed.safetensors"
    measured = load_file(statistics)
    statistics.unlink()
    if earlier:
        save_params(statistics, measured, {})
    moved = dataclasses.replace(run.config, data=str(tmp_path / "elsewhere.npz"))
    (tmp_path / "data.npz").rename(moved.data)
    with pytest.raises(ValueError, match="holds a run with another config"):
        train(moved, run.folder, resume=True, report=quiet)


def test_a_record_that_is_damaged_is_no_other_data(small_config, arrays, tmp_path, quiet, caplog):
    """Neither to a run that goes on without it, nor to what measures that."""
    folder = tmp_path / "packed"
    pack(from_arrays(arrays), folder, shard_rows=20)
    config = small_config(data=str(folder), steps=3)
    run = train(config, tmp_path / "run", report=quiet)
    spoil(min(folder.glob("*.array_record*")))
    skipping = dataclasses.replace(config, on_bad_record="skip")
    (run.folder / "params.safetensors").unlink()
    again = train(skipping, run.folder, resume=True, report=quiet)
    assert digest(load(str(folder)).part("train")).count("-") >= 1
    for each in (run, again):
        data_of(each)
    assert not any("has changed" in record.getMessage() for record in caplog.records)


def test_data_that_are_elsewhere(run, tmp_path):
    (tmp_path / "data.npz").unlink()
    with pytest.raises(FeatureStoreError, match="no data") as error:
        data_of(run)
    assert "give --data" in error.value.__notes__[0]


@pytest.mark.parametrize("change", ["a row less", "another name", "a mask", "a width", "a number"])
def test_what_changes_a_digest(change, arrays):
    arrays["text"][7] = 0  # of which the mask alone tells whether it is there
    before = digest(from_arrays(arrays))
    assert same_rows(digest(from_arrays(dict(reversed(arrays.items())))), before)
    if change == "a row less":
        arrays = {name: x[:-1] for name, x in arrays.items()}
    elif change == "another name":
        arrays["ids"] = np.array([f"{n}" for n in range(59)] + ["x"])
    elif change == "a mask":
        arrays["present.text"] = np.arange(60) != 7
    elif change == "a width":
        arrays["audio"] = arrays["audio"][:, :3]
    else:
        arrays["audio"] = arrays["audio"] + np.float32(1e-3)
    assert not same_rows(digest(from_arrays(arrays)), before)


@pytest.mark.parametrize("column", ["labels", "groups"])
def test_labels_and_groups_are_of_a_digest_where_it_tells_of_them(column, arrays):
    numbers = np.arange(60) % 7
    before = digest(from_arrays({**arrays, column: numbers}))
    other = digest(from_arrays({**arrays, column: numbers[::-1]}))
    assert not same_rows(before, other)
    assert not same_rows(before, digest(from_arrays(arrays)))
    assert same_rows(before, digest(from_arrays({**arrays, column: numbers})))
    of_before = " ".join(word for word in before.split() if "=" not in word)
    assert same_rows(of_before, other) and same_rows(other, of_before)


def test_groups_and_labels_go_with_the_rows(run, arrays):
    more = {"groups": np.arange(60) // 3, "labels": np.arange(60) % 4}
    rows = from_arrays({**arrays, **more})
    embeddings = embed_store(run, rows)
    wanted = evaluate(embeddings, groups=more["groups"], neighbours=False)
    assert measure(run, rows, neighbours=False).retrieval == wanted.retrieval
    found = embed_labelled(run, rows, score="cosine")
    np.testing.assert_array_equal(found.data.clusters, more["groups"])
    np.testing.assert_array_equal(found.labels, more["labels"])
    masked = from_arrays({**arrays, **more, "present.text": more["labels"] != 2})
    assert embed_prompts(run, masked, "text").classes.tolist() == [0, 1, 3]


def test_what_is_measured_leaves_out_what_cannot_be_read(
    small_config, arrays, tmp_path, quiet, caplog
):
    folder = tmp_path / "packed"
    split = np.where(np.arange(60) < 20, "test", "train")
    pack(from_arrays({**arrays, "split": split}), folder, shard_rows=20)
    config = small_config(data=str(folder), steps=3, on_bad_record="skip")
    run = train(config, tmp_path / "run", report=quiet)
    whole = evaluate_run(run)
    for shard in sorted(folder.glob("*.array_record*"))[:2]:
        spoil(shard)
    found = evaluate_run(run)
    assert found.examples == whole.examples - 1 == 19
    assert [len(rows_of(run, data, "test")) for data in (None, str(folder))] == [19, 19]
    rows = load(str(folder), on_bad_record="skip").part("test")
    chooses = Validator(config, rows, lambda state: state, Log(), run.folder / "metrics.jsonl")
    assert len(chooses._rows) == 19
    for message in ("1 of 20 rows cannot be read", "1 of 40 rows"):  # these for the baseline
        assert message in caplog.text
    assert "has changed" not in caplog.text
    main(["embed", str(run.folder), "--data", str(folder), "--out", str(tmp_path / "x.npz")])
    assert len(load(tmp_path / "x.npz")) == 58
    assert len(queries(run, str(folder), [], rows).ids) == 58
    careful = dataclasses.replace(run, config=dataclasses.replace(config, on_bad_record="error"))
    with pytest.raises(FeatureStoreError, match="cannot be read"):
        evaluate_run(careful)

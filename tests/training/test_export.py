"""A checkpoint becomes a run of its own."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from gramalign.data import load
from gramalign.training import Layout, Optimizer, Validation, embed_store, export, load_run, train
from gramalign.training.checkpoint import DamagedCheckpoint
from gramalign.training.metrics import read_metrics
from tests.training.commands import train_until

LAYOUT = Layout(data=2, fsdp=2, model=2)


def files(folder):
    """All there is, with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(small_config, tmp_path_factory, quiet):
    config = small_config(validation=Validation(every=4, held_out=0.25), keep_checkpoints=3)
    return train(config, tmp_path_factory.mktemp("run"), report=quiet).folder


@pytest.fixture
def best(run):
    """Step of the best checkpoint."""
    figures = {
        row["step"]: row["validation/rest -> one R@1, own"]
        for row in read_metrics(run / "metrics.jsonl")
        if "validation/rest -> one R@1, own" in row
    }
    return max(figures, key=lambda step: (figures[step], step))


def test_the_best_is_what_the_run_itself_chose(run, best, small_store, tmp_path):
    before = files(run)
    made = export(run, tmp_path / "best", "best")
    assert files(run) == before
    assert made.step == best
    assert (made.folder / "params.safetensors").read_bytes() == before[run / "params.safetensors"]
    store = load(small_store)
    found, wanted = (embed_store(each, store) for each in (made, load_run(run)))
    for name, rows in wanted.items():
        np.testing.assert_array_equal(found[name], rows)


@pytest.mark.parametrize("checkpoint, step", [("latest", 12), (8, 8)])
def test_config_and_log_come_with_it(run, checkpoint, step, tmp_path):
    made = export(run, tmp_path, checkpoint)
    assert made.step == step and made.config == load_run(run).config
    log = read_metrics(run / "metrics.jsonl")
    assert read_metrics(tmp_path / "metrics.jsonl") == [row for row in log if row["step"] <= step]
    for name in ("config.json", "environment.json", "fixed.safetensors"):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.slow
def test_while_it_trains_on_other_devices(small_config, tmp_path, quiet):
    config = small_config(layout=LAYOUT)
    whole = train(config, tmp_path / "whole", report=quiet)
    made = []

    def report(row):
        if row["step"] == 10:  # the checkpoint of step 8 is being written, or there
            made.append(export(tmp_path / "watched", tmp_path / "made", 4))

    watched = train(config, tmp_path / "watched", report=report)
    np.testing.assert_equal(watched.variables, whole.variables)
    train_until(6, config, tmp_path / "killed")
    after_four = export(tmp_path / "killed", tmp_path / "after_four")
    assert after_four.step == 4
    np.testing.assert_equal(made[0].variables, after_four.variables)
    assert dataclasses.replace(after_four.config, layout=LAYOUT) == config


def test_what_cannot_be_exported(run, plain, tmp_path):
    with pytest.raises(FileExistsError, match="already holds a run"):
        export(run, run)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint is 5 \(there are 4, 8, 12\)$"):
        export(run, tmp_path / "out", 5)
    with pytest.raises(FileNotFoundError, match="has no checkpoints: give the folder of a run"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no checkpoint is best .*--validation.every"):
        export(plain.folder, tmp_path / "out", "best")
    assert not (tmp_path / "out").exists()


def test_what_a_run_lacks_or_its_augment_does_no_harm(small_config, tmp_path, quiet):
    hooks = tmp_path / "hooks.py"
    hooks.write_text("def same(key, features, present):\n    return features, present\n")
    config = small_config(augment=f"{hooks}:same", steps=4)
    folder = train(config, tmp_path / "run", report=quiet).folder
    hooks.unlink()
    for name in ("timing.jsonl", "environment.json"):
        (folder / name).unlink()
    assert export(folder, tmp_path / "out").config == config


def test_one_that_is_cut_off_is_made_again(run, tmp_path, monkeypatch):
    def cut_off(*arguments, **settings):
        raise KeyboardInterrupt

    for where in ("save_params", "MetricsLog"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(sys.modules["gramalign.training.export"], where, cut_off)
            export(run, tmp_path / where)
        assert export(run, tmp_path / where).step == 12


def test_a_damaged_one(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    largest = max((copy / "checkpoints" / "8").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="checkpoints/8 is damaged: .* has changed"):
        export(copy, tmp_path / "out", 8)
    assert export(copy, tmp_path / "out").step == 12
    assert load_file(tmp_path / "out" / "params.safetensors")


def test_a_run_of_no_steps_is_copied(small_config, small_store, tmp_path, quiet):
    """It has no checkpoint, but the model that it began with."""
    folder = train(
        small_config(steps=0, optimizer=Optimizer()), tmp_path / "run", report=quiet
    ).folder
    (folder / "start_from.json").write_text("{}")
    for checkpoint in ("latest", 0):
        made = export(folder, tmp_path / f"{checkpoint}", checkpoint)
        assert made.step == 0
        for name in ("params.safetensors", "config.json", "fixed.safetensors", "start_from.json"):
            assert (made.folder / name).read_bytes() == (folder / name).read_bytes()
        store = load(small_store)
        found, wanted = (embed_store(each, store) for each in (made, load_run(folder)))
        np.testing.assert_equal(found, wanted)
    for checkpoint in ("best", 4):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint is {checkpoint}"):
            export(folder, tmp_path / "out", checkpoint)
    (folder / "params.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint is latest"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""A run that is killed and resumed ends in the very bits of one that was not."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from gramalign.contrast import Engine
from gramalign.data import load
from gramalign.training import config_to_json, loop, train
from gramalign.training.checkpoint import Checkpoints
from gramalign.training.input import Data
from gramalign.training.layout import mesh_of
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import make_programs
from tests.training.commands import Killed, train_until

KILLED_AT = 10  # between the checkpoints at 8 and 12


def last_state(config, folder):
    """The state that the newest checkpoint holds, and the batch that would come next."""
    store = load(config.data).part("train")
    mesh = mesh_of(config.layout)
    with Checkpoints(RunFolder(folder), keep=2) as checkpoints:
        state = checkpoints.restore(make_programs(config, store.dims, mesh).abstract)
    return state, next(Data(store, config, mesh).batches(int(state.step)))


def assert_same_bits(left, right):
    def same(a, b):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)

    jax.tree.map(same, left, right)


@pytest.fixture(scope="module")
def config(small_config):
    return small_config()


@pytest.fixture(scope="module")
def whole(plain):
    return plain.folder


def assert_same_run(config, folder, whole):
    for name in ("params.safetensors", "metrics.jsonl", "config.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert_same_bits(last_state(config, folder), last_state(config, whole))


def test_an_exception(config, whole, tmp_path, monkeypatch):
    train_until(KILLED_AT, config, tmp_path)
    assert not (tmp_path / "params.safetensors").exists()
    monkeypatch.setattr(loop, "moments", None)  # features are not measured again
    rows = []
    train(config, tmp_path, resume=True, report=rows.append)
    assert [row["step"] for row in rows] == [10, 12]
    assert_same_run(config, tmp_path, whole)


def test_on_a_machine_with_less_memory(config, whole, tmp_path, quiet):
    train_until(KILLED_AT, config, tmp_path)
    less = {"microbatch": 5, "engine": Engine(tile=7)}
    less |= {"model": dataclasses.replace(config.model, remat=True)}
    train(dataclasses.replace(config, **less), tmp_path, resume=True, report=quiet)
    assert RunFolder(tmp_path).saved_config() == dataclasses.replace(config, **less), "or the next"
    found, wanted = (load_file(run / "params.safetensors") for run in (tmp_path, whole))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="batch_size: 16 -> 8"):
        train(dataclasses.replace(config, batch_size=8), tmp_path, resume=True, report=quiet)


@pytest.mark.slow
def test_sigkill(config, whole, tmp_path, quiet):
    program = f"""
import os, signal, sys
from gramalign.training import config_from_json, train

def kill(row):
    if row["step"] == {KILLED_AT}:
        os.kill(os.getpid(), signal.SIGKILL)

train(config_from_json(sys.argv[1]), sys.argv[2], report=kill)
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, "-c", program, config_to_json(config), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(config, tmp_path, whole)


@pytest.mark.slow
def test_a_kill_before_the_first_checkpoint(config, whole, tmp_path, quiet):
    def killed_early(row):
        raise Killed

    with pytest.raises(Killed):
        train(config, tmp_path, report=killed_early)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(config, tmp_path, whole)


def test_workers_that_read_the_batches(config, whole, tmp_path):
    train_until(KILLED_AT, dataclasses.replace(config, workers=1), tmp_path)
    assert not multiprocessing.active_children()
    log = (tmp_path / "metrics.jsonl").read_text()
    assert f'"step": {KILLED_AT}' in log
    assert (whole / "metrics.jsonl").read_text().startswith(log)

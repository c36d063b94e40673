"""A small feature store and runs on it."""

import shutil
from functools import cache

import numpy as np
import pytest

from gramalign.training import Clip, Config, Layout, Model, Optimizer, train
from tests.compiled import kept_programs as kept_programs


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """Path of a store of two noisy linear views of one latent."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 6))
    views = {
        name: (latent @ rng.normal(size=(6, width)) + 0.05 * rng.normal(size=(60, width)))
        for name, width in (("text", 10), ("audio", 7))
    }
    path = tmp_path_factory.mktemp("store")
    for name, view in views.items():
        np.save(path / f"{name}.npy", view.astype(np.float32))
    np.save(path / "split.npy", np.array(["train"] * 48 + ["test"] * 12))
    return path


@pytest.fixture(scope="session")
def gappy_store(small_store, tmp_path_factory):
    """Path of a store with a third view beside the small store's, absent here and there."""
    views = {n: np.load(small_store / f"{n}.npy") for n in ("text", "audio", "split")}
    speed = np.tanh(views["text"][:, :4] @ np.random.default_rng(1).normal(size=(4, 5)))
    path = tmp_path_factory.mktemp("three") / "three.npz"
    there = np.arange(60) % 4 != 0
    np.savez(path, speed=speed.astype(np.float32), **views, **{"present.speed": there})
    return path


@pytest.fixture(scope="session")
def small_config(small_store):
    """Returns a function that makes the config of a run of a few steps, fields changed at will."""

    def make(**changes) -> Config:
        settings = {
            "data": str(small_store),
            "objective": "clip",
            "settings": {"clip": Clip(learn_temperature=True)},
            "model": Model(dim=8, hidden=16, dropout=0.2),
            "optimizer": Optimizer(warmup=2),
            "layout": Layout(data=1),
            "steps": 12,
            "batch_size": 16,
            "checkpoint_every": 4,
            "log_every": 2,
        }
        return Config(**{**settings, **changes})

    return make


@pytest.fixture(scope="session")
def quiet():
    """Reports nothing."""
    return lambda row: None


@cache
def trained(config, folder):
    """Once for all modules."""
    return train(config, folder, report=lambda row: None)


# Not for the session: it would train before the module keeps its programs.
@pytest.fixture(scope="module")
def plain(small_config, small_store):
    """A run of the small config as it is, which nobody changes."""
    return trained(small_config(), small_store.parent / "plain")


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory, quiet):
    """The folder of a run of the module's `config` that nothing befalls."""
    return train(config, tmp_path_factory.mktemp("whole"), report=quiet).folder


@pytest.fixture
def broken_off(ended, tmp_path):
    """A copy of the run that the module's `ended` has left."""
    return shutil.copytree(ended, tmp_path / "run")

"""What runs share that differ by their seed alone."""

import dataclasses

import jax
import numpy as np
import pytest

from gramalign.data import load
from gramalign.training import Clip, Config, Model, Optimizer, train
from gramalign.training.layout import mesh_of
from gramalign.training.model import abstract_model
from gramalign.training.objective import objective
from gramalign.training.start import Start, _keys, make_programs

NOTHING = "def augment(key, features, present):\n    return features, present\n"
HALVED = NOTHING.replace("return features", "return {m: x / 2 for m, x in features.items()}")


@pytest.fixture
def started(small_config):
    """Returns a function from changes of a config to its start."""

    def start(**changes):
        config = small_config(**changes)
        dims = load(config.data).dims
        return Start(config, dims, {}, make_programs(config, dims, mesh_of(config.layout)))

    return start


@pytest.fixture
def traced(monkeypatch):
    """Of what terms the objective has been traced, each time."""
    times = []

    def counted(*args, config, **settings):
        times.append(config.objective)
        return objective(*args, config=config, **settings)

    monkeypatch.setattr("gramalign.training.step.objective", counted)
    return times


def test_what_is_tried_out_is_not_traced_again(small_config, small_store, traced, tmp_path, quiet):
    """Nor where the store has labels that no term needs."""
    arrays = {path.stem: np.load(path) for path in small_store.iterdir()}
    np.savez(tmp_path / "labelled.npz", labels=np.arange(60), **arrays)
    data, own = str(tmp_path / "labelled.npz"), "tests.own_methods:hinge"
    train(small_config(data=data, objective=own, settings={}), tmp_path / "run", report=quiet)
    assert traced == [own]


def test_seeds_are_traced_once_and_differ(small_config, tmp_path, quiet, traced):
    one, other, again = (
        train(small_config(steps=7, seed=seed), tmp_path / str(place), report=quiet).variables
        for place, seed in enumerate((5, 6, 5))
    )
    assert len(traced) == 1
    equal = jax.tree.map(np.array_equal, one["encoder"], other["encoder"])
    assert not equal["towers"]["text"]["head"]["kernel"]
    assert equal["towers"]["text"]["standardize"]["mean"]
    jax.tree.map(np.testing.assert_array_equal, again, one)


def test_towers_are_as_the_config_says():
    shape = Model(dim=3, hidden=5, depth=2, dropout=0.25, dtype="bfloat16")
    tower = abstract_model(Config(model=shape), {"a": 7, "b": 4}).encoder.towers["a"]
    assert tower.dropout == 0.25 and {layer.dtype for layer in tower.layers} == {"bfloat16"}
    assert [layer.kernel.shape for layer in tower.layers] == [(7, 5), (5, 5)]
    assert tower.head.kernel.shape == (5, 3)


def test_weights_and_dropout_are_of_the_seed(started):
    one, other, again = (started(seed=seed).state() for seed in (1, 2, 1))
    for of in (lambda x: x.params["encoder"], lambda x: jax.random.key_data(x.rng)):
        weights = [jax.tree.leaves(of(x))[-1] for x in (one, other, again)]
        assert (weights[0] == weights[2]).all() and (weights[0] != weights[1]).any()


def test_weights_and_the_run_have_keys_of_their_own():
    of_weights, of_run = (jax.random.key_data(key) for key in _keys(0))
    assert (of_weights != of_run).any()


def test_anything_else_is_another_program(started, small_config):
    step = started().step
    assert started(seed=1).step is step
    other_terms = {"clip": dataclasses.replace(small_config().terms["clip"], temperature=0.5)}
    for changes in ({"steps": 13}, {"batch_size": 8}, {"settings": other_terms}):
        assert started(**changes).step is not step
        step = started().step


def test_a_function_that_augments_is_read_again(started, tmp_path):
    path = tmp_path / "hooks.py"

    def loss():
        start = started(augment=f"{path}:augment")
        features = {"text": np.ones((16, 10), np.float32), "audio": np.ones((16, 7), np.float32)}
        features = {m: x * np.arange(16, dtype=np.float32)[:, None] for m, x in features.items()}
        present = {m: np.ones(16, bool) for m in features}
        batch = {"features": features, "present": present, "groups": np.arange(16, dtype=np.int32)}
        return float(start.step(start.state(), start.fixed, batch)[1]["loss"])

    path.write_text(NOTHING)
    first = loss()
    path.write_text(HALVED)
    assert loss() != first


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "clip", "settings": {"clip": Clip(of="tests.own_methods:Steep")}},
        {"objective": "tests.own_methods:hinge", "settings": {}},
        {"objective": "tests.own_methods:Sharp", "settings": {}},
        {"model": Model(tower="tests.own_methods:Flat")},
        {"optimizer": Optimizer(kind="optax:lion")},
    ],
)
def test_what_may_be_defined_again_is_another_program(started, changes):
    """As a notebook does with a class, whose name stays."""
    assert started(**changes).step is not started(**changes).step


def test_what_is_not_trained_begins_with_what_its_tower_brings(started):
    still = Optimizer(rates=((r"text\.linear\.bias", 0.0),))
    start = started(model=Model(tower="tests.own_methods:Begun", dim=4), optimizer=still)
    trained = start.state().params["encoder"]["towers"]
    assert trained["text"]["linear"].keys() == {"kernel"}
    fixed = start.fixed["encoder"]["towers"]["text"]["linear"]
    for bias in (trained["audio"]["linear"]["bias"], fixed["bias"]):
        np.testing.assert_array_equal(bias, np.arange(4))

"""Starting from another run's weights."""

import dataclasses
import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy

from gramalign.training import Model, train
from gramalign.training.state import init_state
from gramalign.training.warm_start import Matched, replaced, warm_start
from tests.training.commands import arrays, train_until


@pytest.fixture(scope="module")
def first(plain):
    return plain.folder


@pytest.fixture(scope="module")
def other_store(small_store, tmp_path_factory):
    """The text of the small store, and a modality that the first run has not seen."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("text", "split"):
        shutil.copy(small_store / f"{name}.npy", folder)
    text = 3 + 2 * np.load(folder / "text.npy")  # other moments than the first run's
    np.save(folder / "text.npy", text)
    np.save(folder / "depth.npy", np.cos(text[:, :5]))
    return folder


@pytest.fixture(scope="module")
def tuned_config(small_config, first, other_store):
    # A learning rate of next to nothing leaves the weights where they started.
    optimizer = dataclasses.replace(small_config().optimizer, learning_rate=1e-9)
    return small_config(data=str(other_store), start_from=str(first), optimizer=optimizer)


@pytest.fixture(scope="module")
def tuned(tuned_config, tmp_path_factory, quiet):
    return train(tuned_config, tmp_path_factory.mktemp("tuned"), report=quiet).folder


def test_the_host_does_not_hold_what_has_been_replaced():
    tree, given = {"a": {"b": jnp.zeros(2)}, "c": np.zeros(2)}, {"a.b": np.ones(2), "d": np.ones(2)}
    found = replaced(tree, given)
    assert given.keys() == {"d"}
    np.testing.assert_array_equal(found["a"]["b"], np.ones(2, np.float32))
    assert found["c"] is tree["c"]


def test_what_fits_is_taken(tuned, first):
    before, after = arrays(first), arrays(tuned)
    matched = json.loads((tuned / "start_from.json").read_text())
    assert set(matched["taken"]) == before.keys() & after.keys()
    assert any("text" in name for name in matched["taken"])
    assert all("depth" in name for name in matched["new"]) and matched["new"]
    assert all("audio" in name for name in matched["left"]) and matched["left"]
    assert matched["other_shape"] == []
    for name in matched["taken"]:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6, err_msg=name)


def test_another_width_is_left_out(tuned_config, first, tmp_path, quiet):
    config = dataclasses.replace(tuned_config, model=Model(dim=8, hidden=12, dropout=0.2))
    train(config, tmp_path, report=quiet)
    matched = json.loads((tmp_path / "start_from.json").read_text())
    assert "encoder.towers.text.layers.0.kernel" in matched["other_shape"]
    assert matched["taken"] and set(matched["taken"]).isdisjoint(matched["other_shape"])


def test_a_run_goes_on_when_the_first_is_gone(tuned, tuned_config, first, tmp_path, quiet, caplog):
    gone, folder = tmp_path / "first", tmp_path / "run"
    shutil.copytree(first, gone)
    config = dataclasses.replace(tuned_config, start_from=str(gone))
    with caplog.at_level(logging.INFO, logger="gramalign"):
        train_until(10, config, folder)
    matched = json.loads((folder / "start_from.json").read_text())
    assert f"starting from {gone}: {len(matched['taken'])} arrays loaded" in caplog.text
    shutil.rmtree(gone)
    train(config, folder, resume=True, report=quiet)
    jax.tree.map(np.testing.assert_array_equal, arrays(tuned), arrays(folder))
    assert (tuned / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    shutil.rmtree(folder / "checkpoints")
    train(config, folder, resume=True, report=quiet)  # nothing, as it is finished


def test_a_run_without_a_checkpoint_begins_from_the_same_weights_again(
    tuned, tuned_config, first, tmp_path, quiet
):
    source, folder = tmp_path / "first", tmp_path / "run"
    shutil.copytree(first, source)
    config = dataclasses.replace(tuned_config, start_from=str(source))
    train_until(2, config, folder)
    shutil.copy(tuned / "params.safetensors", source)  # as where it is trained anew meanwhile
    with pytest.raises(ValueError, match="start_from: .* has changed since the run in"):
        train(config, folder, resume=True, report=quiet)
    shutil.copy(first / "params.safetensors", source)
    train(config, folder, resume=True, report=quiet)
    jax.tree.map(np.testing.assert_array_equal, arrays(tuned), arrays(folder))


def test_processes_start_from_the_same_weights(tuned_config, first, tuned, tmp_path, monkeypatch):
    """Each reads its own part of the file, and may have another one under the same name."""
    told = []

    class Told(Exception):
        pass

    def tell(facts):
        told.append(facts)
        raise Told

    monkeypatch.setattr("gramalign.training.loop.check_alike", tell)
    for source in (first, first, tuned):
        shutil.copytree(source, tmp_path / "source", dirs_exist_ok=True)
        with pytest.raises(Told):
            train(dataclasses.replace(tuned_config, start_from=str(tmp_path / "source")), tmp_path)
    one, same, other = (each.pop("weights of start_from") for each in told)
    assert one == same != other and told[0] == told[2]


def test_what_was_not_trained_is_lost(tuned_config, tmp_path, quiet):
    """It cannot be measured anew: it was the other run's."""
    train_until(10, tuned_config, tmp_path)
    (tmp_path / "fixed.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="fixed.safetensors is missing, .*: restore it, or"):
        train(tuned_config, tmp_path, resume=True, report=quiet)


def test_nothing_to_start_from(tuned_config, small_config, tmp_path, quiet):
    config = dataclasses.replace(tuned_config, start_from=str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="does not exist: give the folder of a finished run"
    ):
        train(config, tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()
    (tmp_path / "config.json").touch()
    with pytest.raises(FileNotFoundError, match="does not exist: finish that run, or make a"):
        train(config, tmp_path / "run", report=quiet)
    path = tmp_path / "others.safetensors"
    path.write_bytes(b"no weights")
    config = dataclasses.replace(tuned_config, start_from=str(path))
    with pytest.raises(ValueError, match="others.safetensors is damaged"):
        train(config, tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()
    safetensors.numpy.save_file({"x": np.ones(3)}, path)
    config = dataclasses.replace(tuned_config, start_from=str(path))
    with pytest.raises(
        ValueError, match="start_from: no weights of a tower match. .* 0 arrays loaded"
    ):
        train(config, tmp_path / "run2", report=quiet)


def test_statistics_alone_are_nothing_to_start_from(tuned_config, first, tmp_path, quiet):
    model = Model(dim=5, hidden=7, dropout=0.2)
    config = dataclasses.replace(tuned_config, model=model)
    still = dataclasses.replace(config.optimizer, rates=(("towers.text", 0.0),))
    for one in (config, dataclasses.replace(config, optimizer=still)):
        with pytest.raises(ValueError, match="start_from: no weights of a tower match"):
            train(one, tmp_path, report=quiet)


def test_weights_take_the_dtype_and_the_place_of_those_they_replace(small_config, tmp_path):
    names = {"encoder.weight": np.arange(8, dtype=np.float16), "encoder.mean": np.ones(8)}
    safetensors.numpy.save_file(names, tmp_path / "other.safetensors")
    split = jax.NamedSharding(jax.make_mesh((4,), ("data",)), jax.P("data"))
    params = {"encoder": {"weight": jax.device_put(jnp.zeros(8), split)}}
    state = init_state(params, optax.sgd(0.1), jax.random.key(0))
    fixed = {"encoder": {"mean": np.zeros(8, np.float32)}}
    config = small_config(start_from=str(tmp_path / "other.safetensors"))
    state, fixed, _ = warm_start(state, fixed, config)
    weight, mean = state.params["encoder"]["weight"], fixed["encoder"]["mean"]
    assert (weight.dtype, weight.sharding, mean.dtype) == (jnp.float32, split, np.float32)
    assert isinstance(mean, np.ndarray)
    np.testing.assert_array_equal(weight, np.arange(8))
    np.testing.assert_array_equal(mean, np.ones(8))


def test_what_became_of_each_array_is_told_in_a_line():
    said = str(Matched("runs/a", ("x",), tuple("abcdefg"), (), tuple("abcdef")))
    assert said == (
        "runs/a: 1 array loaded; not in it 7 (a, b, c, d, e, f and 1 more); of another shape in it "
        "0; not used 6 (a, b, c, d, e, f)"
    )

"""Stores are embedded on all devices, as many rows at once as they have room for."""

import dataclasses

import jax
import numpy as np
import pytest

from gramalign.data import from_arrays
from gramalign.training import Layout, embed_store, embedding, train
from gramalign.training.layout import mesh_of, shardings
from gramalign.training.model import abstract_model
from gramalign.training.restore import make_run
from tests.training.commands import untrained

ROWS = 3000


@pytest.fixture(scope="module")
def run(small_config, gappy_store, tmp_path_factory, quiet):
    config = small_config(data=str(gappy_store), objective="confu", settings={}, layout=Layout())
    return train(untrained(config), tmp_path_factory.mktemp("run"), report=quiet)


@pytest.fixture(scope="module")
def store(run):
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=(ROWS, d)).astype(np.float32) for n, d in run.dims.items()}
    return from_arrays(arrays | {"present.speed": np.arange(ROWS) % 3 != 0}, source="made")


@pytest.fixture
def sizes(monkeypatch):
    """Those of the batches, as they come."""
    found, examples = [], embedding.examples

    def noted(store, size):
        found.append(size)
        return examples(store, size)

    monkeypatch.setattr(embedding, "examples", noted)
    return found


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, rows in wanted.items():
        np.testing.assert_allclose(found[name], rows, atol=1e-6)


def test_many_rows_are_split_over_all_devices(run, store, sizes):
    wanted = embed_store(run, store, batch_size=700, fused="confu")
    assert {"text", "audio+speed"} <= wanted.keys() and not wanted["speed"][::3].any()
    same(embed_store(run, store, fused="confu"), wanted)
    few = embed_store(run, store.take(np.arange(13)), fused="confu")
    same(few, {name: rows[:13] for name, rows in wanted.items()})
    one = dataclasses.replace(run, config=dataclasses.replace(run.config, layout=Layout(data=1)))
    same(embed_store(one, store, fused="confu"), wanted)
    assert sizes == [700, 8 * 512, 16, 1024]


def test_the_wider_rows_are_the_fewer_there_are_at_once(run, store, sizes, monkeypatch):
    monkeypatch.setattr("gramalign.data.store._VALUES", 100 * sum(run.dims.values()))
    found = embed_store(run, store)
    same(found, embed_store(run, store, batch_size=1024))
    monkeypatch.setattr(embedding, "_READ", 1)  # of all devices together
    same(embed_store(run, store), found)
    assert sizes == [8 * 64, 1024, 8 * 8]


def test_no_array_on_the_way_is_larger_than_there_is_room_for(run, store, sizes, monkeypatch):
    hidden = 4 * run.config.model.hidden
    assert hidden > 4 * max(*run.dims.values(), run.config.model.dim)
    monkeypatch.setattr(embedding, "_BYTES", 50 * hidden)
    same(embed_store(run, store), embed_store(run, store, batch_size=1024))
    assert sizes == [8 * 32, 1024]


def test_weights_are_on_their_device_from_the_first_call_on(run):
    rows = {name: jax.numpy.ones((3, width)) for name, width in run.dims.items()}
    before = run.embed(rows)
    with jax.transfer_guard("disallow"):
        after = run.embed(rows)
    same(after, before)


def test_a_tower_that_takes_other_numbers_of_rows_is_given_as_many_as_any(run, caplog):
    """So that its own error comes up where it is called, if it does."""
    caplog.set_level("INFO")
    assert embedding._room(run, list(run.dims), "no such term") == 1024
    assert "towers do not take 16144 rows" in caplog.text and "no such term" in caplog.text


@pytest.mark.parametrize("layout", [Layout(fsdp=8), Layout(fsdp=2, model=2)])
def test_where_a_run_is_being_trained_its_devices_share_the_rows(
    run, store, layout, sizes, monkeypatch
):
    monkeypatch.setattr(embedding, "_ROWS", 4)
    config, mesh = dataclasses.replace(run.config, layout=layout), mesh_of(layout)
    split = jax.device_put(run.variables, shardings(layout, mesh, run.variables))
    assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(split))
    model = abstract_model(config, run.dims)
    training = make_run(run.folder, config, run.dims, model, split, run.step)
    rows = store.take(np.arange(100))
    same(embed_store(training, rows, fused="confu"), embed_store(run, rows, fused="confu"))
    assert sizes == [4 * mesh.shape["data"] * mesh.shape["fsdp"], 4 * 8]

"""The order of batches: seeded, complete, endless, resumable."""

import itertools

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from gramalign.data import batches, from_arrays, open_store


def make_store(rows=10, **more):
    numbers = np.arange(rows)
    return from_arrays({"text": numbers[:, None] * [1.0, 10.0], "audio": numbers[:, None], **more})


def rows_of(iterator, count):
    return [batch["features"]["audio"][:, 0] for batch in itertools.islice(iterator, count)]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10])
def test_every_row_once_an_epoch(batch_size):
    stream = np.concatenate(rows_of(batches(make_store(), batch_size=batch_size, seed=1), 60))
    epochs = stream[: len(stream) // 10 * 10].reshape(-1, 10)
    assert len(epochs) >= 6
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))


def test_each_epoch_has_its_own_order():
    epochs = rows_of(batches(make_store(50), batch_size=50, seed=1), 20)
    assert len({tuple(epoch) for epoch in epochs}) == 20


def test_the_seed_gives_the_order():
    def first(seed):
        return np.concatenate(rows_of(batches(make_store(), batch_size=4, seed=seed), 9)).tolist()

    assert first(3) == first(3)
    assert first(3) != first(4)
    assert first(0)[:10] != sorted(first(0)[:10])


def test_what_a_batch_holds():
    store = make_store(**{"present.text": np.arange(10) != 7, "groups": np.arange(10) // 5})
    for batch in itertools.islice(batches(store, batch_size=10, seed=0), 2):
        rows = batch["features"]["audio"][:, 0].astype(int)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), batch) == {
            "features": {"text": ((10, 2), "float32"), "audio": ((10, 1), "float32")},
            "present": {"text": ((10,), "bool"), "audio": ((10,), "bool")},
            "groups": ((10,), "int32"),
        }
        np.testing.assert_array_equal(batch["present"]["text"], rows != 7)
        expected = np.where(rows != 7, rows, 0)[:, None] * [1.0, 10.0]
        np.testing.assert_array_equal(batch["features"]["text"], expected)
        np.testing.assert_array_equal(batch["groups"], rows // 5)


@pytest.mark.parametrize("names", [np.array([30, -4, 30, 7, 7]), np.array(list("zczff"))])
def test_classes_are_numbered_in_their_order(names):
    batch = next(batches(make_store(5, labels=names), batch_size=5, seed=0))
    rows = batch["features"]["audio"][:, 0].astype(int)
    np.testing.assert_array_equal(batch["labels"], np.array([2, 0, 2, 1, 1])[rows])
    assert batch["labels"].dtype == np.int32


def test_rows_are_their_own_groups():
    for batch in itertools.islice(batches(make_store(), batch_size=7, seed=0), 5):
        np.testing.assert_array_equal(batch["groups"], batch["features"]["audio"][:, 0])


def test_mapped_features(tmp_path):
    np.savez(tmp_path / "x.npz", audio=np.arange(30.0)[:, None], split=np.arange(30) % 2)
    train = open_store(tmp_path / "x.npz").part("train")
    (rows,) = rows_of(batches(train, batch_size=15, seed=0), 1)
    assert sorted(rows) == list(range(0, 30, 2))


@pytest.mark.parametrize("done", [0, 1, 7])
def test_state_resumes_within_an_epoch(done):
    interrupted = batches(make_store(), batch_size=4, seed=5)
    rows_of(interrupted, done)
    state = interrupted.get_state()
    expected = rows_of(interrupted, 6)
    resumed = batches(make_store(), batch_size=4, seed=5)
    resumed.set_state(state)
    np.testing.assert_array_equal(rows_of(resumed, 6), expected)


def test_orbax_saves_the_iterator_with_a_pytree(tmp_path):
    def fresh():
        return batches(make_store(), batch_size=4, seed=5)

    iterator = fresh()
    rows_of(iterator, 4)
    params = {"w": jax.numpy.arange(3.0)}
    with ocp.training.Checkpointer(tmp_path / "checkpoints") as checkpointer:
        checkpointer.save_checkpointables(4, {"state": params, "data": iterator})
    expected = rows_of(iterator, 3)
    resumed = fresh()
    with ocp.training.Checkpointer(tmp_path / "checkpoints") as checkpointer:
        loaded = checkpointer.load_checkpointables(4, {"state": params, "data": resumed})
    np.testing.assert_array_equal(loaded["state"]["w"], params["w"])
    np.testing.assert_array_equal(rows_of(resumed, 3), expected)


@pytest.mark.parametrize("batch_size", [0, 11, "5", 2.0])
def test_batch_size_that_does_not_fit(batch_size, unchecked):
    message = f"batch_size is {batch_size!r}, but arrays has 10 rows here, expected 1 to 10"
    with pytest.raises(ValueError, match=message):
        batches(make_store(), batch_size=batch_size, seed=0)


def test_negative_seed():
    with pytest.raises(ValueError, match="seed is -1, expected an integer >= 0"):
        batches(make_store(), batch_size=2, seed=-1)
    with pytest.raises(ValueError, match="start is -1, expected an integer >= 0"):
        batches(make_store(), batch_size=2, seed=0, start=-1)

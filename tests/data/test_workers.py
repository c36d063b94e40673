"""Batches that other processes read are those that this one reads, and so is what goes wrong."""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from gramalign.data import FeatureStore, FeatureStoreError, batches, load, open_store
from gramalign.data import workers as in_workers
from gramalign.data.packed import Records, pack
from gramalign.data.store import MappedRows
from gramalign.data.workers import next_of
from tests.data.test_packed import shards, spoil


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of two modalities, the same packed, and packed with a damaged record."""
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(0)
    (folder / "plain").mkdir()
    np.save(folder / "plain" / "text.npy", rng.normal(size=(60, 5)).astype(np.float32))
    np.save(folder / "plain" / "audio.npy", np.asfortranarray(rng.normal(size=(60, 3))))
    np.save(folder / "plain" / "present.audio.npy", rng.random(60) < 0.8)
    for name in ("packed", "damaged"):
        pack(open_store(folder / "plain"), folder / name, shard_rows=20)
    spoil(shards(folder / "damaged")[1])
    return folder


def read(store, count, **more):
    """Some batches, and no process stays behind."""
    with contextlib.closing(batches(store, batch_size=12, seed=1, **more)) as iterator:
        found = list(itertools.islice(iterator, count))
    assert not multiprocessing.active_children()
    return found


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize(("workers", "start"), [(1, 0), (2, 5)])
def test_the_same_batches_in_the_same_order(folder, workers, start):
    store = load(f"{folder / 'plain'} + 0.5*{folder / 'packed'}").part("train")
    more = {"start": start, "places": np.arange(3, 9)}
    found = read(store, 9, workers=workers, **more)
    assert_same(found, read(store, 9, **more))
    assert type(found[0]["features"]["text"]) is np.ndarray, "and no shared memory is held"


@pytest.fixture(scope="module")
def skipped(folder):
    """A mixture with damaged records, before and after workers have read it."""
    data = f"{folder / 'plain'} + {folder / 'damaged'}"
    before, after = (load(data, on_bad_record="skip") for _ in range(2))
    return before, after, read(after, 10, workers=1)


def test_what_workers_could_not_read_is_counted_here(skipped):
    before, after, found = skipped
    assert_same(found, read(before, 10))
    assert after.lost and after.lost == before.lost
    assert all(60 + 20 <= row < 60 + 40 for row in after.lost)


def test_an_error_in_a_worker_arrives(folder):
    with pytest.raises(FeatureStoreError, match=r"00001-of-00003.*record \d+ \(row \d+\) cannot"):
        read(load(folder / "damaged"), 10, workers=1)
    assert not multiprocessing.active_children()


def test_a_signal_to_all_processes_leaves_the_batches_that_a_run_is_saved_after(folder):
    store = load(folder / "plain")
    with contextlib.closing(batches(store, batch_size=12, seed=1, workers=1)) as iterator:
        found = [next(iterator)]
        (reader,) = multiprocessing.active_children()
        os.kill(reader.pid, signal.SIGTERM)
        found += itertools.islice(iterator, 20)
    assert_same(found, read(store, 21))
    assert not multiprocessing.active_children()


def test_a_signal_to_all_processes_while_they_start_leaves_them_to_the_run(folder):
    def tell():
        while not (readers := multiprocessing.active_children()):
            time.sleep(0.001)
        for reader in readers:
            os.kill(reader.pid, signal.SIGTERM)

    store = load(folder / "plain")
    telling = threading.Thread(target=tell)
    with contextlib.closing(batches(store, batch_size=12, seed=1, workers=1)) as iterator:
        telling.start()
        found = [next_of(iterator)]
        telling.join()
    assert_same(found, read(store, 1))
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


class Deadly(np.ndarray):
    """Rows that kill who reads them, at a moment when that is known to hold no lock."""

    def __getitem__(self, rows):
        assert multiprocessing.parent_process() is not None
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_reader_that_is_killed_is_an_error_with_a_cure():
    text = np.zeros((20, 2), np.float32).view(Deadly)
    store = FeatureStore({"text": text}, {"text": np.ones(20, bool)}, np.arange(20).astype(str))
    with contextlib.closing(batches(store, batch_size=12, seed=1, workers=1)) as iterator:
        with pytest.raises(ChildProcessError, match="status -9, .* fewer workers"):
            next_of(iterator)


def test_a_reader_that_ends_by_itself_did_not_run_out_of_memory():
    def batches():
        raise RuntimeError("Worker process was terminated unexpectedly with exit code 1. Search")
        yield

    with pytest.raises(ChildProcessError, match="status 1, for the reason above.*if __name__ == "):
        next_of(batches())


_SCRIPT = """
import multiprocessing, sys, time
from gramalign.data import batches, load

if __name__ == "__main__":
    iterator = batches(load(sys.argv[1]), batch_size=12, seed=1, workers=1)
    next(iterator)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_no_process_behind(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, script, folder / "plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        reader = int(process.stdout.readline())
        process.kill()
    for _ in range(100):
        try:
            os.kill(reader, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(reader, signal.SIGKILL)
    raise AssertionError("the process that reads is still there")


def test_a_store_travels_by_its_place(folder):
    for name in ("plain", "packed"):
        arrays = load(folder / name).part("train").features
        for array in arrays.values():
            sent = pickle.dumps(array)
            again = pickle.loads(sent)
            np.testing.assert_array_equal(np.asarray(again), np.asarray(array))
            assert len(sent) < 1200 + array._rows.nbytes, "the rows' numbers, and no features"
    text, audio = pickle.loads(pickle.dumps(list(arrays.values())))
    assert isinstance(text._array._records, Records)
    assert text._array._records is audio._array._records, "one record is read once for both"
    whole = np.asarray(open_store(folder / "plain").features["text"])
    part = MappedRows(open_store(folder / "plain").features["text"][7:], np.arange(5))
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(part))), whole[7:12])


def test_how_many_there_may_be(folder, monkeypatch):
    store = load(folder / "plain")
    with pytest.raises(ValueError, match="workers is -1, expected an integer >= 0"):
        batches(store, batch_size=4, seed=0, workers=-1)
    full = os.statvfs_result((4096, 4096, 100, 1, 1, 0, 0, 0, 0, 255))
    monkeypatch.setattr(in_workers.os, "statvfs", lambda path: full)
    with pytest.raises(OSError, match="12 workers hand over .* use fewer workers, or none, or"):
        batches(store, batch_size=60, seed=0, workers=12)

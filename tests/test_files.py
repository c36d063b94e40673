"""Files are whole or not there, and leave no drafts."""

import errno
import fcntl
import json
import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from gramalign.cli.figures import write_with_rows
from gramalign.error_text import text_of
from gramalign.files import (
    Appended,
    check_local,
    locked,
    read_json,
    whole,
    write_arrays,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_name_when_it_is_written(tmp_path):
    path = tmp_path / "figures.json"
    write_text(path, "old")
    with whole(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(tmp_path) == ["figures.json"]


def test_a_name_is_given_to_what_is_on_disk(tmp_path, monkeypatch):
    """And is on disk itself: a power cut afterwards takes neither."""
    done = []
    replace, path = os.replace, tmp_path / "figures.json"

    def replaced(draft, path):
        replace(draft, path)
        done.append("named")

    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_ino))
    monkeypatch.setattr(os, "replace", replaced)
    write_text(path, "new")
    assert done == [path.stat().st_ino, "named", tmp_path.stat().st_ino]


def test_what_is_written_in_part_goes_on(tmp_path, monkeypatch):
    log = Appended(tmp_path / "log")
    file, log._file = log._file, SimpleNamespace(write=lambda content: file.write(content[:3]))
    log.write(b"0123456789")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"0123456789"


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "text") as text, whole(tmp_path / "arrays") as arrays:
            text.write_text("")
            safetensors.numpy.save_file({"a": np.ones(2)}, arrays)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o640, 0o640]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "figures.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), whole(path) as draft:
        draft.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(tmp_path) == ["figures.json"]


def test_arrays_that_the_disk_has_no_room_for(tmp_path):
    """No file may grow over some kB."""
    path = tmp_path / "arrays.safetensors"
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_arrays(path, {"a": np.ones(2)}, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
    try:
        with pytest.raises(OSError, match=f"^cannot write {path}: .*File too large"):
            write_arrays(path, {"a": np.ones(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert names(tmp_path) == [path.name]
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["a"], np.ones(2))


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "figures.json"
    with pytest.raises(OSError) as told, whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert text_of(told.value).endswith(f"No space left on device. That was while writing {path}")


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path):
    def write(number):
        for _ in range(20):
            write_text(tmp_path / "figures.json", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert (tmp_path / "figures.json").read_text() in map(str, range(8))
    assert names(tmp_path) == ["figures.json"]


def test_a_lock_is_not_refused_for_somebody_who_looks(tmp_path):
    def look():
        with (tmp_path / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            looking.set()
            time.sleep(0.03)

    (tmp_path / "lock").touch()
    looking = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(look)
        looking.wait()
        with locked(tmp_path / "lock", "busy"):
            pass
        looked.result()
    with (
        locked(tmp_path / "lock", "busy"),
        pytest.raises(FileExistsError, match="busy"),
        locked(tmp_path / "lock", "busy"),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b'{"R@1": 5', b"\xff\xfe"])
def test_damaged_json_is_named(content, tmp_path):
    path = tmp_path / "figures.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"figures\.json is damaged or not JSON \(.*restore it"):
        read_json(path)
    write_text(path, '{"R@1": 50.0}')
    assert read_json(path) == {"R@1": 50.0}


def test_figures_and_their_rows_are_of_one_measurement(tmp_path):
    figures, rows = tmp_path / "evaluation.json", tmp_path / "ranks.npz"
    write_with_rows(figures, {"R@1": 50.0}, rows, {"ids": np.array(["a", "b"])})

    class Full:
        def __array__(self, dtype=None, copy=None):
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_with_rows(figures, {"R@1": 60.0}, rows, {"ids": Full()})
    assert json.loads(figures.read_text()) == {"R@1": 50.0}
    with np.load(rows) as found:
        assert found["ids"].tolist() == ["a", "b"]
    assert names(tmp_path) == ["evaluation.json", "ranks.npz"]


@pytest.mark.parametrize("address", ["gs://bucket/run", Path("s3://bucket/run"), "0.7*gs://a + b"])
def test_an_address_is_no_file(address):
    with pytest.raises(ValueError, match="files only: name a folder .* and copy from the address"):
        check_local(address)


@pytest.mark.parametrize("path", ["0.7*stores/a:b + c", Path("C:/runs"), Path("/data/10:30/x")])
def test_a_colon_makes_no_address(path):
    check_local(path)

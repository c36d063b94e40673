"""A saved index comes back to the same bits; a damaged or foreign file does not come at all."""

import json
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from gramalign import Index
from tests import samples

IDS = ["plain", "größer", "日本語", "a b\n", "0", "007", "x" * 300]


@pytest.fixture
def index():
    rng = np.random.default_rng(0)
    present = {"b": rng.random(7) < 0.7}
    return Index(
        samples.embeddings(rng, 7, 5, names="cab", dtype=np.float64),
        present,
        IDS,
        made_by="größer 3",
    )


def test_it_comes_back_to_the_same_bits(index, tmp_path):
    path = tmp_path / "new" / "folder" / "index.safetensors"
    index.save(path)
    loaded = Index.load(path)
    assert loaded.modalities == index.modalities == ("c", "a", "b")
    assert loaded.ids.tolist() == IDS and loaded.made_by == "größer 3"
    for name in "abc":
        np.testing.assert_array_equal(
            loaded.embeddings[name].view(np.uint32), index.embeddings[name].view(np.uint32)
        )
        np.testing.assert_array_equal(loaded.present[name], index.present[name])
    query = {"a": samples.unit(np.random.default_rng(1), 3, 5)}
    found, expected = loaded.search(query, 7), index.search(query, 7)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_does_not_say_what_made_it(tmp_path):
    Index({"a": np.eye(3)}).save(tmp_path / "index.safetensors")
    with safetensors.safe_open(tmp_path / "index.safetensors", "numpy") as opened:
        about = json.loads(opened.metadata()["gramalign.index"])
    assert about.keys() == {"version", "modalities", "checksums"}, "as it was before any file did"
    assert Index.load(tmp_path / "index.safetensors").made_by == ""
    with pytest.raises(ValueError, match="made_by: got 3, expected a string"):
        Index.__init__.__wrapped__(Index.__new__(Index), {"a": np.eye(3)}, made_by=3)


def test_a_folder_of_its_name(index, tmp_path):
    folder = tmp_path / "index.safetensors"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match=f"^{folder} is a folder, expected a file"):
        index.save(folder)


def test_the_same_index_gives_the_same_file(index, tmp_path):
    paths = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    for path in paths:
        index.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_that_could_not_be_written_leaves_the_old_one(index, tmp_path, monkeypatch):
    path = tmp_path / "index.safetensors"
    index.save(path)
    before = path.read_bytes()

    def full(arrays, draft, metadata):
        draft.write_bytes(b"the first half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        index.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file(index, tmp_path, kept):
    path = tmp_path / "index.safetensors"
    index.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is damaged or not a .safetensors file"):
        Index.load(path)


def test_every_changed_byte_is_found(index, tmp_path):
    path = tmp_path / "index.safetensors"
    index.save(path)
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    rng = np.random.default_rng(0)
    places = {*range(8, start, 7), *rng.integers(start, len(content), 40).tolist()}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="damaged|not an index|of version"):
            Index.load(path)


def test_files_that_are_no_index(index, tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"text": np.eye(3)}, path)
    with pytest.raises(ValueError, match="is not an index: give a file that Index.save wrote"):
        Index.load(path)
    about = {"version": 2, "modalities": ["text"], "checksums": {}}
    metadata = {"gramalign.index": json.dumps(about)}
    safetensors.numpy.save_file({"text": np.eye(3)}, path, metadata=metadata)
    with pytest.raises(ValueError, match="of version 2, expected 1"):
        Index.load(path)
    with pytest.raises(FileNotFoundError, match="absent.safetensors does not exist"):
        Index.load(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match="is a folder: give a file that Index.save wrote"):
        Index.load(tmp_path)
    with pytest.raises(ValueError, match="expected a name that ends in .safetensors"):
        index.save(tmp_path / "index.npz")

"""Stores from every kind of file, and a message for everything that can be wrong with one."""

import os
import re
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from gramalign.data import FeatureStoreError, from_arrays, load, open_store


def arrays(rows=6, **more):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(rows, 4)).astype(np.float32)
    audio = rng.normal(size=(rows, 3)).astype(np.float32)
    return {"audio": audio, "text": text, **more}


def write_folder(path, content):
    path.mkdir()
    for name, array in content.items():
        np.save(path / f"{name}.npy", array)
    return path


def write_npz(path, content):
    np.savez(path.with_suffix(".npz"), **content)
    return path.with_suffix(".npz")


def write_compressed(path, content):
    np.savez_compressed(path.with_suffix(".npz"), **content)
    return path.with_suffix(".npz")


def write_safetensors(path, content):
    save_file(content, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


WRITERS = [write_folder, write_npz, write_compressed, write_safetensors]
MAPPED = [write_folder, write_npz, write_safetensors]


@pytest.mark.parametrize("write", WRITERS)
def test_each_format_gives_back_what_was_written(write, tmp_path):
    content = arrays(
        ids=np.arange(10, 16),
        labels=np.array([0, 1, 2, 0, 1, 2]),
        split=np.array([0, 0, 0, 1, 2, 2]),
        groups=np.array([7, 7, 5, 5, 9, 9]),
        **{"present.text": np.array([True, True, True, True, True, False])},
    )
    store = open_store(write(tmp_path / "features", content))
    assert store.modalities == ("audio", "text")
    assert store.dims == {"audio": 3, "text": 4}
    assert len(store) == 6
    for name in store.modalities:
        np.testing.assert_array_equal(store.features[name], content[name])
    np.testing.assert_array_equal(store.present["text"], content["present.text"])
    assert store.present["audio"].all()
    assert store.ids.tolist() == ["10", "11", "12", "13", "14", "15"]
    assert store.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert store.split.tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert store.groups.tolist() == [1, 1, 0, 0, 2, 2]


@pytest.mark.parametrize("write", MAPPED)
def test_features_are_mapped(write, tmp_path):
    store = open_store(write(tmp_path / "features", arrays()))
    for array in store.features.values():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


@pytest.mark.parametrize("write", MAPPED)
def test_opening_and_parting_never_loads_the_whole_file(write, tmp_path):
    big = np.zeros((2**15, 512), np.float32)  # 64 MiB
    path = write(tmp_path / "features", {"text": big, "split": np.arange(2**15) % 2})
    tracemalloc.start()
    try:
        store = open_store(path)
        part = store.part("train").take(np.arange(100)[::-1])
        rows = part.features["text"][np.array([0, 1])]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows.shape == (2, 512)
    assert peak < big.nbytes / 4


@pytest.mark.parametrize("write", [write_npz, write_compressed, write_folder])
def test_fortran_order(write, tmp_path):
    content = {name: np.asfortranarray(array) for name, array in arrays().items()}
    store = open_store(write(tmp_path / "features", content))
    np.testing.assert_array_equal(store.features["text"], content["text"])


def test_strings_in_ids_split_and_groups(tmp_path):
    content = arrays(
        ids=np.array(["a", "b", "c", "d", "e", "ü"]),
        split=np.array(["train", "test", "train", "test", "validation", "train"]),
        groups=np.array([b"y", b"y", b"x", b"x", b"z", b"z"]),
    )
    store = open_store(write_folder(tmp_path / "features", content))
    assert store.ids.tolist() == ["a", "b", "c", "d", "e", "ü"]
    assert store.part("test").ids.tolist() == ["b", "d"]
    assert store.groups.tolist() == [1, 1, 0, 0, 2, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16, np.uint8, bool])
def test_every_real_dtype_is_taken(dtype, tmp_path):
    values = np.ones((3, 2)).astype(dtype)
    store = open_store(write_folder(tmp_path / "features", {"text": values}))
    assert store.features["text"].dtype == dtype


def test_bfloat16(tmp_path):
    values = np.array([[1.0, 2.0], [np.nan, 0.0]], ml_dtypes.bfloat16)
    path = write_safetensors(tmp_path / "good", {"text": values[:1]})
    assert open_store(path).features["text"].dtype == ml_dtypes.bfloat16
    path = write_safetensors(tmp_path / "bad", {"text": values})
    with pytest.raises(FeatureStoreError, match=r"bad\.safetensors\[text\]: row 1 holds NaN"):
        open_store(path)


def test_absent_rows_may_hold_anything():
    content = arrays(**{"present.text": np.array([True, True, False, True, True, True])})
    content["text"][2] = np.nan
    assert not from_arrays(content).present["text"][2]


BAD = {
    "lengths": (
        lambda c: c.update(text=c["text"][:4]),
        "text has 4 rows, but audio has 6: every array needs the same rows in the same order",
    ),
    "NaN": (
        lambda c: c["text"].__setitem__((slice(3, 5), 1), np.nan),
        "text: row 3 holds NaN or Inf (or a number too large for float32; 2 such rows): fix "
        "them, or mark them as missing in 'present.text'",
    ),
    "Inf": (lambda c: c["audio"].__setitem__((5, 0), -np.inf), "audio: row 5 holds NaN or Inf"),
    "beyond float32": (
        lambda c: c.update(text=np.full((6, 2), 1e300)),
        "text: row 0 holds NaN or Inf (or a number too large for float32; 6 such rows)",
    ),
    "strings": (
        lambda c: c.update(text=np.full((6, 2), "word")),
        "text has dtype <U4, expected real numbers; if it describes each row, call it "
        "one of ids, labels, split, groups",
    ),
    "complex": (lambda c: c.update(text=np.ones((6, 2), complex)), "text has dtype complex128"),
    "objects": (lambda c: c.update(text=np.full((6, 2), None)), "text has dtype object"),
    "rank 1": (
        lambda c: c.update(text=np.ones(6)),
        "expected [rows, width]; if it describes each row, call it one of ids",
    ),
    "rank 0": (lambda c: c.update(text=np.float32(1)), "text has shape (), expected [rows, width]"),
    "rank 4": (
        lambda c: c.update(text=np.ones((6, 2, 2, 3))),
        "text has shape (6, 2, 2, 3), expected [rows, width]; save array.reshape(6, -1)",
    ),
    "no rows": (
        lambda c: c.update(text=np.ones((0, 4))),
        "text is empty, of shape (0, 4), expected at least one row and one column",
    ),
    "no columns": (lambda c: c.update(text=np.ones((6, 0))), "text is empty, of shape (6, 0)"),
    "no modality": (
        lambda c: (c.clear(), c.update(labels=np.arange(3))),
        "arrays has no modality, only labels: expected one array of features per modality",
    ),
    "nothing": (lambda c: c.clear(), "arrays has no modality: expected one array of features"),
    "dotted name": (
        lambda c: c.update({"text.large": c["text"]}),
        "text.large: a modality's name cannot contain a dot or a slash, since it also names "
        "parameters: call it 'text_large'",
    ),
    "reserved name": (
        lambda c: c.update(__metadata__=c["text"]),
        "__metadata__: .safetensors files reserve this name: rename it",
    ),
    "bare mask": (
        lambda c: c.update(present=np.ones((6, 2), bool)),
        "present: a mask belongs to one modality: name it 'present.text'",
    ),
    "mask of unknown": (
        lambda c: c.update({"present.video": np.ones(6, bool)}),
        "present.video is the mask of an unknown modality 'video', expected one of audio, text",
    ),
    "mask dtype": (
        lambda c: c.update({"present.text": np.ones(6, int)}),
        "present.text is int64[6], expected bool[6], True where the row has 'text'",
    ),
    "mask length": (
        lambda c: c.update({"present.text": np.ones(5, bool)}),
        "present.text has 5 rows, but audio has 6",
    ),
    "row with nothing": (
        lambda c: c.update({f"present.{m}": np.arange(6) != 3 for m in ("text", "audio")}),
        "arrays: row 3 has no modality at all (1 such row): remove these rows",
    ),
    "ids twice": (
        lambda c: c.update(ids=np.array(["a", "c", "b", "c", "b", "e"])),
        "ids: rows 1 and 3 are both 'c': ids must be unique",
    ),
    "ids dtype": (
        lambda c: c.update(ids=np.linspace(0, 1, 6)),
        "ids has dtype float64, expected strings or integers",
    ),
    "ids rank": (
        lambda c: c.update(ids=np.arange(12).reshape(6, 2)),
        "ids has shape (6, 2), expected one value per row, [6]",
    ),
    "labels length": (
        lambda c: c.update(labels=np.arange(7)),
        "labels has 7 rows, but audio has 6",
    ),
    "labels rank 0": (
        lambda c: c.update(labels=np.int32(7)),
        "labels has no rows, but audio has 6",
    ),
    "labels dtype": (
        lambda c: c.update(labels=np.linspace(0, 1, 6)),
        "labels has dtype float64, expected strings or integers",
    ),
    "split name": (
        lambda c: c.update(split=np.array(["train", "train", "dev", "test", "test", "test"])),
        "split: row 2 is 'dev', expected one of train, validation, test",
    ),
    "split number": (
        lambda c: c.update(split=np.array([0, 1, 2, 3, 0, 0])),
        "split: row 3 is 3, expected one of train, validation, test",
    ),
    "split number below": (
        lambda c: c.update(split=np.array([0, 1, -1, 2, 0, 0])),
        "split: row 2 is -1, expected one of train, validation, test",
    ),
    "split dtype": (
        lambda c: c.update(split=np.ones(6, bool)),
        "split has dtype bool, expected strings (or 0, 1, 2)",
    ),
    "groups dtype": (
        lambda c: c.update(groups=np.ones(6)),
        "groups has dtype float64, expected integers or strings",
    ),
}


def test_a_name_that_is_no_text(tmp_path):
    np.save(tmp_path / "text.npy", np.ones((2, 3)))
    (tmp_path / "text.npy").rename(tmp_path / os.fsdecode(b"caf\xe9.npy"))
    with pytest.raises(FeatureStoreError, match=r"caf\\udce9.* has a name that is not UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize("spoil, message", BAD.values(), ids=BAD.keys())
def test_bad_arrays(spoil, message):
    content = arrays()
    spoil(content)
    with pytest.raises(FeatureStoreError, match=re.escape(message)):
        from_arrays(content)


@pytest.mark.parametrize(
    "write, where",
    [
        (write_folder, "text.npy"),
        (write_npz, "features.npz[text]"),
        (write_compressed, "features.npz[text]"),
        (write_safetensors, "features.safetensors[text]"),
    ],
)
def test_messages_name_the_file(write, where, tmp_path):
    content = arrays()
    content["text"][3] = np.inf
    with pytest.raises(FeatureStoreError, match=re.escape(f"{where}: row 3 holds NaN or Inf")):
        open_store(write(tmp_path / "features", content))


def test_a_file_is_read_again_once_it_has_changed(tmp_path):
    """Opened several times in between, it is read once."""
    content = arrays()
    path = write_folder(tmp_path / "store", content)
    open_store(path)
    content["text"][2] = np.nan
    file, about = path / "text.npy", (path / "text.npy").stat()
    np.save(file, content["text"])
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    open_store(path)  # as far as anybody can tell without reading it, it is what it was
    np.save(path / "present.text.npy", np.arange(6) % 2 == 0)
    with pytest.raises(FeatureStoreError, match="row 2 holds NaN"):
        open_store(path)
    (path / "present.text.npy").unlink()
    os.utime(file)
    with pytest.raises(FeatureStoreError, match="row 2 holds NaN"):
        open_store(path)


def test_row_numbers_count_from_the_start_of_the_file(monkeypatch):
    monkeypatch.setattr("gramalign.data.opening._CHUNK", 8)  # two rows of text at a time
    content = arrays(rows=7)
    content["text"][5] = np.nan
    with pytest.raises(FeatureStoreError, match="text: row 5 holds NaN"):
        from_arrays(content)
    assert len(from_arrays({**content, "present.text": np.arange(7) != 5})) == 7


@pytest.mark.parametrize("write", [write_folder, write_npz, write_compressed])
def test_pickles_are_refused(write, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    path = write(tmp_path / "features", {"text": np.array([[Bomb()]], object)})
    with pytest.raises(FeatureStoreError, match=r"text\S* holds pickled Python objects.*float32"):
        open_store(path)


def test_objects_are_saved_as_the_message_says(tmp_path):
    values = np.array(["a", "b"], object)  # as a table's column of ids
    path = write_folder(tmp_path / "features", {"ids": values, "text": np.eye(2)})
    with pytest.raises(FeatureStoreError, match=r"names such as ids as values\.astype\(str\)"):
        open_store(path)
    np.save(path / "ids.npy", values.astype(str))
    values = np.empty(2, object)  # vectors, as a table's column of features
    values[:] = list(np.eye(2))
    np.save(path / "text.npy", values)
    with pytest.raises(FeatureStoreError, match=r"numpy\.stack\(values\)\.astype\(numpy\.f"):
        open_store(path)
    np.save(path / "text.npy", np.stack(values).astype(np.float32))
    assert open_store(path).ids.tolist() == ["a", "b"]


def test_missing_path(tmp_path):
    with pytest.raises(
        FeatureStoreError, match=r"absent does not exist: expected a folder of \.npy"
    ):
        open_store(tmp_path / "absent")


def test_unknown_kind_of_file(tmp_path):
    (tmp_path / "table.csv").write_text("1,2")
    with pytest.raises(
        FeatureStoreError, match=r"table\.csv is not a feature store.*'\.csv'.*savez.*ids="
    ):
        open_store(tmp_path / "table.csv")


def test_folder_without_arrays(tmp_path):
    with pytest.raises(FeatureStoreError, match=r"has no \.npy file.*such as text\.npy$"):
        open_store(tmp_path)


def test_features_in_another_format_are_not_left_out_unsaid(tmp_path, caplog):
    write_folder(tmp_path / "store", arrays())
    open_store(tmp_path / "store")
    assert not caplog.records
    for name in ("notes.txt", "image.csv", "depth.npz"):
        (tmp_path / "store" / name).write_text("1,2")
    open_store(tmp_path / "store")
    open_store(tmp_path / "store")
    (record,) = caplog.records
    assert "without depth.npz, image.csv: if those are features" in record.getMessage()


def test_folder_that_holds_another_store(tmp_path):
    path = write_npz(tmp_path / "features", arrays())
    with pytest.raises(FeatureStoreError, match=re.escape(f"did you mean {path}?")):
        open_store(tmp_path)


def test_empty_array_in_a_file(tmp_path):
    path = write_folder(tmp_path / "features", {"text": np.ones((0, 4))})
    with pytest.raises(FeatureStoreError, match=r"text\.npy is empty, of shape \(0, 4\)"):
        open_store(path)


def test_file_that_is_no_array(tmp_path):
    (tmp_path / "text.npy").write_bytes(b"not an array")
    with pytest.raises(FeatureStoreError, match=r"text\.npy is not a readable array.*numpy\.save"):
        open_store(tmp_path)


def test_headers_that_are_damaged_anywhere(tmp_path):
    """Whatever a byte of it becomes: the array, or an error that names the file."""
    path = write_folder(tmp_path / "features", arrays(rows=10))
    whole = (path / "text.npy").read_bytes()
    for place in range(10, 118):
        for byte in b" (}'\xff":
            (path / "text.npy").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                open_store(path)
            except FeatureStoreError as error:
                assert "text" in str(error)


def test_local_headers_of_an_archive_that_are_damaged(tmp_path):
    path = write_compressed(tmp_path / "x", arrays())
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1  # encrypted, it says
    path.write_bytes(content)
    with pytest.raises(FeatureStoreError, match=r"x\.npz is damaged or not an .npz"):
        open_store(path)


@pytest.mark.parametrize("name", ["ids", "labels", "split"])
@pytest.mark.parametrize("text", [np.array([b"a", b"caf\xe9"]), np.array(["a", "caf\udce9"])])
def test_columns_that_are_not_utf8(name, text):
    with pytest.raises(FeatureStoreError, match=f"{name}: row 1 is .*which is not UTF-8"):
        from_arrays({"text": np.ones((2, 2)), name: text})


@pytest.mark.parametrize(
    "write, name", [(write_npz, "x.npz"), (write_safetensors, "x.safetensors")]
)
def test_damaged_archives(write, name, tmp_path):
    path = write(tmp_path / "x", arrays())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FeatureStoreError, match=f"{re.escape(name)} is damaged.*write it again"):
        open_store(path)


def test_damaged_compressed_member(tmp_path):
    path = write_compressed(tmp_path / "x", {"text": np.random.default_rng(0).normal(size=(99, 9))})
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(FeatureStoreError, match=r"x\.npz is damaged"):
        open_store(path)


def test_cut_npy(tmp_path):
    path = write_folder(tmp_path / "features", arrays(rows=100))
    whole = (path / "text.npy").read_bytes()
    (path / "text.npy").write_bytes(whole[:-40])
    with pytest.raises(FeatureStoreError, match=r"text\.npy ends before its last row"):
        open_store(path)


def test_safetensors_dtype_that_numpy_lacks(tmp_path):
    header = b'{"text":{"dtype":"F8_E4M3","shape":[1,2],"data_offsets":[0,2]}}'
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(FeatureStoreError, match=r"x\.safetensors\[text\] has dtype F8_E4M3: save"):
        open_store(path)


def test_load_divides_rows_where_the_store_does_not(tmp_path):
    path = write_folder(tmp_path / "features", arrays(rows=50))
    store = load(str(path))
    assert set(store.split) == {"train", "test"}
    again = load(
        write_folder(tmp_path / "given", arrays(rows=6, split=np.array([0, 0, 0, 0, 1, 2])))
    )
    assert again.split.tolist() == ["train"] * 4 + ["validation", "test"]
    pairs = np.arange(50) // 2
    grouped = load(write_folder(tmp_path / "grouped", arrays(rows=50, groups=pairs)))
    assert (grouped.split[::2] == grouped.split[1::2]).all(), "no group is divided"


def test_load_names_what_there_is():
    with pytest.raises(
        FeatureStoreError, match=r"no data 'digitz': expected 'digits', or the path"
    ):
        load("digitz")


@pytest.mark.parametrize("code", [0x110000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_names_with_letters_that_there_are_not(code, tmp_path):
    ids = np.array(["ab", "cd", "ef"])
    ids.view(np.uint32)[3] = code
    for order in "<>":
        np.savez(tmp_path / "x.npz", text=np.ones((3, 2)), ids=ids.astype(f"{order}U2"))
        with pytest.raises(FeatureStoreError, match=r"x.npz\[ids\]: row 1 is no text"):
            open_store(tmp_path / "x.npz")


def test_an_npz_whose_offsets_are_damaged(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, text=np.ones((3, 2)))
    content = path.read_bytes()
    end = content.index(b"PK\x05\x06") + 16  # where it says the directory starts
    path.write_bytes(content[:end] + (2**31 - 1).to_bytes(4, "little") + content[end + 4 :])
    with pytest.raises(FeatureStoreError, match="x.npz is damaged or not an .npz file .*offset"):
        open_store(path)

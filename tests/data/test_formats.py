"""Parquet and HDF5 files as sources of a store, and as tables."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gramalign.cli.main import main
from gramalign.data import FeatureStoreError, open_store
from gramalign.data.by_id import join
from gramalign.media.table import read_table

WIDTH = 3
LISTS = np.array([np.arange(1), np.arange(2)], h5py.vlen_dtype(int))


def vector(identity, offset=0.0):
    return np.full(WIDTH, ord(identity[0]) + offset, np.float32)


def lists(ids, kind=None, **columns):
    """A table with an embedding for each id but x."""
    rows = [None if name == "x" else vector(name).tolist() for name in ids]
    return pa.table({"id": list(ids), "embedding": pa.array(rows, kind), **columns})


@pytest.fixture
def text(tmp_path):
    """What the others are joined with, in an order of its own."""
    np.savez(tmp_path / "text.npz", ids=list("dcbax"), text=[vector(name) for name in "dcbax"])
    return tmp_path / "text.npz"


def joined(text, path, name="film", **options):
    out = text.parent / "out"
    found = join({"text": text, name: path}, out, **options)
    assert sorted(x.name for x in text.parent.iterdir() if "out" in x.name) == ["out"]
    return found, open_store(out)


def assert_as_text(store, name, missing=""):
    there = store.present[name]
    assert set(store.ids[~there].tolist()) == set(missing)
    np.testing.assert_array_equal(store.features[name][there], store.features["text"][there])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32(), WIDTH),
        pa.large_list(pa.float32()),
        pa.list_(pa.int16()),
    ],
    ids=str,
)
def test_a_column_of_lists(text, tmp_path, kind):
    pa.parquet.write_table(lists("axbcd", kind), tmp_path / "film.parquet", row_group_size=2)
    found, store = joined(text, tmp_path / "film.parquet", at_least=1)
    assert_as_text(store, "film", missing="x")
    assert found.present == {"film": 4, "text": 5} and store.features["film"].dtype == np.float32


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_a_column_of_names(text, tmp_path, kind):
    table = pa.table({"key": pa.array(list("ab")).cast(kind), "x": [vector("a"), vector("b")]})
    pa.parquet.write_table(table, tmp_path / "film.parquet")
    assert_as_text(joined(text, tmp_path / "film.parquet")[1], "film")


def test_half_precision_is_kept(text, tmp_path):
    rows = pa.array([vector(name).astype(np.float16) for name in "ab"], pa.list_(pa.float16()))
    pa.parquet.write_table(pa.table({"ids": ["a", "b"], "x": rows}), tmp_path / "film.parquet")
    assert joined(text, tmp_path / "film.parquet")[1].features["film"].dtype == np.float16


def test_more_rows_than_are_read_at_once_of_several_files(text, tmp_path, monkeypatch):
    """Of some blocks nothing is there, not even of the first."""
    monkeypatch.setattr("gramalign.data.parquet._ROWS", 2)
    monkeypatch.setattr("gramalign.data.by_id._VALUES", 2 * WIDTH)
    folder = tmp_path / "films"
    folder.mkdir()
    for number, ids in enumerate([["x", "xx", "b"], ["a"], ["c", "d", "e"]]):
        table = lists(ids).set_column(
            1,
            "embedding",
            pa.array(
                [None if name[0] == "x" else vector(name) for name in ids], pa.list_(pa.float32())
            ),
        )
        pa.parquet.write_table(table, folder / f"part-{number}.parquet")
    seen = []
    found, store = joined(text, folder, report=lambda *each: seen.append(each))
    assert_as_text(store, "film")
    assert sorted(store.ids.tolist()) == list("abcd") and found.few == 2
    assert [each[1:] for each in seen if each[0] == "reading film"][-1] == (7, 7)


def test_columns_are_found_by_name(text, tmp_path, caplog):
    other = pa.array([[9.0]] * 2)
    table = lists("ab", other=other, title=["one", "two"], split=["test", "train"], labels=[0.5, 1])
    pa.parquet.write_table(table, tmp_path / "all.parquet")
    _, store = joined(text, tmp_path / "all.parquet", "embedding")
    assert_as_text(store, "embedding")
    parts = dict(zip(store.ids.tolist(), store.split.tolist(), strict=True))
    assert parts == {"a": "test", "b": "train"} and store.labels is None, "which are no classes"
    assert caplog.messages[0].endswith("all.parquet, expected text or whole numbers: double")
    with pytest.raises(FeatureStoreError, match="has embedding, other, and no film: name the mod"):
        join({"text": text, "film": tmp_path / "all.parquet"}, tmp_path / "again")


def test_whole_numbers_name_rows(tmp_path):
    table = pa.table({"number": [7, 3], "vectors": [[1.0, 2.0], [3.0, 4.0]], "labels": ["a", "b"]})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    np.savez(tmp_path / "text.npz", ids=[3, 7], text=[[3.0], [7.0]])
    _, store = joined(tmp_path / "text.npz", tmp_path / "a.parquet")
    order = [store.ids.tolist().index(name) for name in ("7", "3")]
    np.testing.assert_array_equal(store.features["film"][order], [[1, 2], [3, 4]])
    assert store.labels[order].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"id": ["a"], "n": [1.0]}), r"no column of vectors, only id \(string\), n \(dou"),
        (pa.table({"a": ["a"], "b": ["b"], "x": [[1.0]]}), "no column 'ids' or 'id', .* a, b, x"),
        (pa.table({"id": ["a", None], "x": [[1.0]] * 2}), "id has no value in some rows"),
        (pa.table({"id": ["a", "a"], "x": [[1.0]] * 2}), "ids of .*rows 0 and 1 are both 'a'"),
        (pa.table({"id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}), "b is 2 wide, and a is 1"),
        (pa.table({"id": ["a", "b"], "x": [[1.0], [None]]}), "b holds a null: fix it, or leave"),
        (pa.table({"id": ["a", "b"], "x": [[1.0], [np.nan]]}), "b holds NaN or Inf"),
        (pa.table({"id": ["a", "b"], "x": [[1.0], [1e39]]}), "b holds NaN or Inf .or a number too"),
        (pa.table({"id": ["a"], "x": pa.array([None], pa.list_(pa.float32()))}), "no vector for f"),
        (pa.table({"id": ["a"], "x": pa.array([[]], pa.list_(pa.float32()))}), "no vector for f"),
    ],
)
def test_tables_that_cannot_be_read(text, tmp_path, table, message):
    pa.parquet.write_table(table, tmp_path / "film.parquet")
    with pytest.raises(FeatureStoreError, match=message):
        join({"text": text, "film": tmp_path / "film.parquet"}, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name], "nothing is left"


def test_widths_and_columns_are_those_of_the_first(text, tmp_path):
    for number, table in enumerate([lists("ab"), pa.table({"id": ["c"], "embedding": [[1.0]]})]):
        pa.parquet.write_table(table, tmp_path / f"{number}.parquet")
    with pytest.raises(FeatureStoreError, match="c is 1 wide, and those before are 3"):
        join({"text": text, "film": tmp_path}, tmp_path / "out")
    pa.parquet.write_table(lists("ab", pa.list_(pa.float16())), tmp_path / "0.parquet")
    pa.parquet.write_table(lists("c"), tmp_path / "1.parquet")
    with pytest.raises(FeatureStoreError, match="c is of float64, and those before are of float1"):
        join({"text": text, "film": tmp_path}, tmp_path / "out")
    pa.parquet.write_table(pa.table({"id": ["d"], "other": [[1.0]]}), tmp_path / "1.parquet")
    with pytest.raises(FeatureStoreError, match="1.parquet has the columns id, other, and 0.parq"):
        join({"text": text, "film": tmp_path}, tmp_path / "out")


@pytest.mark.parametrize("name", ["film.parquet", "film.h5"])
def test_damaged_and_absent_files(text, tmp_path, name, monkeypatch):
    with pytest.raises(FeatureStoreError, match=f"{name} does not exist"):
        join({"text": text, "film": tmp_path / name}, tmp_path / "out")
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(FeatureStoreError, match=f"{name} is damaged or not an? .* file"):
        join({"text": text, "film": tmp_path / name}, tmp_path / "out")
    with pytest.raises(FeatureStoreError, match=f"make one by `gramalign join MODALITY=.*{name}"):
        open_store(tmp_path / name)
    (tmp_path / "alone").mkdir()
    (tmp_path / name).rename(tmp_path / "alone" / name)
    with pytest.raises(FeatureStoreError, match="`gramalign join` makes such a folder of .parquet"):
        open_store(tmp_path / "alone")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed here: pip install 'gramalign\[formats\]'"):
        join({"text": text, "film": tmp_path / name}, tmp_path / "out")


def stored(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.mark.parametrize("ids", [list("axcd"), np.array(list("axcd"), "S1")], ids=["text", "bytes"])
def test_data_sets_beside_ids(text, tmp_path, monkeypatch, ids):
    monkeypatch.setattr("gramalign.data.hdf5._ROWS", 3)
    rows = np.array([vector(name) for name in "axcd"], np.float64)
    there = np.array([True, False, True, True])
    arrays = {"ids": ids, "film": rows, "present.film": there, "sound": rows[:, :1]}
    path = stored(tmp_path / "all.h5", **arrays)
    stored(tmp_path / "all.h5", **arrays, labels=["one", "two", "one", "two"])
    _, store = joined(text, path)
    assert_as_text(store, "film")
    assert dict(zip(store.ids.tolist(), store.labels.tolist(), strict=True))["c"] == "one"
    assert store.features["film"].dtype == np.float32


@pytest.mark.parametrize("inside", ["", "/features"])
def test_data_sets_by_id(text, tmp_path, inside):
    """Each of some vectors, whose mean is the example's."""
    frames = {
        f"{name}{inside}": np.stack([vector(name, offset) for offset in (-1, 0, 1)])
        for name in "ca"
    }
    frames[f"b{inside}"] = vector("b")
    path = stored(tmp_path / "frames.hdf5", **frames)
    with pytest.raises(FeatureStoreError, match=r"a is float32\[3, 3\], .* several .*--average"):
        join({"text": text, "film": path}, tmp_path / "out")
    _, store = joined(text, path, average=True)
    assert_as_text(store, "film")
    assert sorted(store.ids.tolist()) == list("abc")
    stored(path, **frames, **{f"d{inside}": np.zeros((0, WIDTH))})
    with pytest.raises(FeatureStoreError, match=r"d is float64\[0, 3\], expected numbers"):
        join({"text": text, "film": path}, tmp_path / "again", average=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": ["a"]}, "has ids and nothing else"),
        ({"ids": ["a"], "x": [[1.0]], "y": [[1.0]]}, "has x, y, and no film: name the modality"),
        ({"ids": ["a", "b"], "x": [[1.0]]}, r"x is float64\[1, 1\] and ids is object\[2\], exp"),
        ({"ids": ["a"], "x": [1.0]}, r"x is float64\[1\] and ids"),
        ({"ids": ["a"], "x/inside": [[1.0]]}, "x is a group and ids"),
        ({"ids": ["a"], "x": [["b"]]}, r"x is object\[1, 1\] and ids"),
        (
            {"ids": ["a"], "x": [[1.0]], "present.x": [1]},
            r"present.x is int64\[1\], expected bool\[1\]",
        ),
        ({"ids": ["a", "a"], "x": [[1.0]] * 2}, "rows 0 and 1 are both 'a'"),
        (
            {"ids": ["a"], "x": [[1.0]], "labels": [1, 2]},
            r"labels is int64\[2\], expected .* \[1\]",
        ),
        ({"ids": ["a"], "x": [[1.0]], "split/a": "test"}, "split is a group, expected text or who"),
        ({"ids": LISTS, "x": [[1.0]] * 2}, r"ids is object\[2\], expected text or whole numbers"),
        ({"a": [["b"]]}, r"a is object\[1\], expected numbers"),
        ({}, "is empty: expected vectors by id"),
    ],
)
def test_data_sets_that_cannot_be_read(text, tmp_path, arrays, message):
    path = stored(tmp_path / "film.h5", **arrays)
    with pytest.raises(FeatureStoreError, match=message):
        join({"text": text, "film": path}, tmp_path / "out")


def test_a_damaged_data_set_is_named(text, tmp_path):
    rows = np.arange(3000.0).reshape(-1, WIDTH)
    with h5py.File(tmp_path / "film.h5", "w") as file:
        file["ids"] = np.arange(len(rows))
        place = file.create_dataset("film", data=rows, compression="gzip").id.get_chunk_info(0)
    with (tmp_path / "film.h5").open("r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    with pytest.raises(FeatureStoreError, match="film.h5: /film is damaged"):
        join({"text": text, "film": tmp_path / "film.h5"}, tmp_path / "out")


def test_a_table_may_be_parquet(text, tmp_path, capsys):
    """Whose columns of vectors are of no use as text."""
    table = lists("ba", labels=["two", "one"], split=["test", "train"])
    table = table.rename_columns(["ids", "film", "labels", "split"])
    table = table.append_column("photo", pa.array([b"JPEG", None]))
    pa.parquet.write_table(table, tmp_path / "all.parquet")
    assert list(read_table(tmp_path / "all.parquet").columns) == ["ids", "labels", "split"]
    path = str(tmp_path / "all.parquet")
    words = ["--table", path, "--out", str(tmp_path / "out")]
    main(["join", f"text={text}", f"film={path}", *words])
    store = open_store(tmp_path / "out")
    assert store.ids.tolist() == ["b", "a"] and store.labels.tolist() == ["two", "one"]
    assert store.split.tolist() == ["test", "train"]
    assert_as_text(store, "film")
    with pytest.raises(ValueError, match=r"all.parquet: row 1: labels is 1.5, expected text"):
        pa.parquet.write_table(pa.table({"labels": ["a", None]}), tmp_path / "all.parquet")
        found = read_table(tmp_path / "all.parquet")
        found.columns["labels"][1] = 1.5
        found.cells("labels")

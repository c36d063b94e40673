"""Features that were made apart, each with ids and an order of its own, as one store."""

import os
import resource
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from gramalign.cli.main import main
from gramalign.data import FeatureStoreError, open_store
from gramalign.data.by_id import join
from gramalign.data.packed import pack
from gramalign.files import locked
from tests.complaint import complaint

WIDTH = 3


def vectors(names, offset=0.0):
    """One for each, which tells who it is of."""
    return {name: np.full(WIDTH, ord(name) + offset, np.float32) for name in names}


def damage(path):
    """One byte of its header, which is Python's text of a dict."""
    path.write_bytes(path.read_bytes().replace(b"}", b" "))


@pytest.fixture
def made(tmp_path):
    """Four kinds of sources: a store, one of several modalities, files, and vectors by id."""

    def store(path, **modalities):
        ids = list(modalities.pop("ids"))
        np.savez(path, ids=np.array(ids), **modalities)

    rows = np.stack(list(vectors("cab").values()))
    store(tmp_path / "text.npz", ids="cab", anything=rows.astype(np.float16))
    there = np.array([True, False, True])
    two = np.stack(list(vectors("bcd", 0.5).values()))
    two[1] = np.nan
    store(
        tmp_path / "two.npz",
        **{"ids": "bcd", "aside": np.ones((3, 2)), "audio": two, "present.audio": there},
    )
    (tmp_path / "film").mkdir()
    for name, vector in vectors("da", 0.25).items():
        np.save(tmp_path / "film" / f"{name}.npy", vector[None].astype(np.float64))
    by_id = {name: x.astype(ml_dtypes.bfloat16) for name, x in vectors("be").items()}
    safetensors.numpy.save_file(by_id, tmp_path / "depth.safetensors")
    return {
        "text": tmp_path / "text.npz",
        "audio": tmp_path / "two.npz",
        "film": tmp_path / "film",
        "depth": tmp_path / "depth.safetensors",
    }


OFFSETS = {"text": 0.0, "audio": 0.5, "film": 0.25, "depth": 0.0}


def assert_each_in_its_row(store):
    """And nothing where it is missing."""
    for name, array in store.features.items():
        for row, there in enumerate(store.present[name]):
            wanted = ord(store.ids[row].item()) + OFFSETS[name] if there else 0.0
            np.testing.assert_array_equal(array[row], np.full(WIDTH, wanted))


def test_all_ids_with_two_modalities_or_more(made, tmp_path):
    seen = []
    found = join(made, tmp_path / "out", report=lambda *each: seen.append(each))
    store = open_store(tmp_path / "out")
    assert sorted(store.ids.tolist()) == ["a", "b", "d"], "c has no sound that is there, e one"
    assert (found.rows, found.few) == (3, 2) and set(found.unlisted.values()) == {0}
    assert found.present == {"audio": 2, "depth": 1, "film": 2, "text": 2}
    there = {m: set(store.ids[mask].tolist()) for m, mask in store.present.items()}
    assert there == {"text": set("ab"), "audio": set("bd"), "film": set("ad"), "depth": {"b"}}
    assert store.features["text"].dtype == np.float16, "as it was"
    assert_each_in_its_row(store)
    assert ("film", 3, 3) in seen
    assert sorted(x.name for x in tmp_path.iterdir() if "out" in x.name) == ["out"]


def test_rows_of_a_table(made, tmp_path):
    about = {
        "ids": np.array([b"d", b"x", b"a", b"c"]),
        "split": np.array(["train", "test", "test", "train"]),
        "labels": np.array([4, 5, 6, 7]),
    }
    made.pop("depth")  # which has none of them
    found = join(made, tmp_path / "out", about=about, at_least=1)
    store = open_store(tmp_path / "out")
    assert store.ids.tolist() == ["d", "a", "c"] and found.few == 1
    assert store.split.tolist() == ["train", "test", "train"] and store.labels.tolist() == [4, 6, 7]
    assert found.unlisted == {"audio": 1, "film": 0, "text": 1}
    assert_each_in_its_row(store)


def test_the_command(made, tmp_path, capsys, caplog):
    caplog.set_level("INFO", "gramalign")
    table = tmp_path / "rows.csv"
    table.write_text("ids,groups,label\nb,one,0\na,one,0\nd,two,0\n")
    words = [f"{name}={path}" for name, path in made.items()]
    out = tmp_path / "joined features"
    main(["join", *words, "--table", str(table), "--out", str(out)])
    said = capsys.readouterr().out
    assert not said.startswith("\n"), "of a progress bar that nobody sees"
    assert "text: 2 rows; 1 id not in the table" in said
    assert f"not used of {table}: 'label'" in caplog.text
    assert f"made {out}: 3 rows\nnext: gramalign train --data '{out}'" in said
    store = open_store(out)
    assert store.ids.tolist() == list("bad") and store.groups.tolist() == [0, 0, 1]
    assert_each_in_its_row(store)


def test_a_table_without_ids_is_named(made, tmp_path, capsys):
    table = tmp_path / "rows.csv"
    table.write_text("id,label\nb,0\n")
    words = ["--table", str(table), "--out", str(tmp_path / "out")]
    said = complaint(capsys, "join", f"text={made['text']}", *words)
    assert f"{table} has no column 'ids', by which" in said and "one of 'id', 'label'" in said
    table.write_text("ids;label\nb;0\n")
    said = complaint(capsys, "join", f"text={made['text']}", *words)
    assert "rows are matched: cells are divided by ',', not ';'" in said


def test_a_modality_of_which_no_row_is_kept_is_refused(made, tmp_path):
    np.savez(tmp_path / "other.npz", ids=np.array(["a.jpg"]), x=np.ones((1, 2)))
    with pytest.raises(FeatureStoreError, match="no row would have photo: .*other.npz has 'a.jpg'"):
        join({**made, "photo": tmp_path / "other.npz"}, tmp_path / "out")
    none = {"ids": np.array(["x"]), "photo": np.ones((1, 2)), "other": np.ones((1, 2))}
    np.savez(tmp_path / "other.npz", **none, **{"present.photo": np.array([False])})
    with pytest.raises(FeatureStoreError, match="no row would have photo: .*other.npz has none"):
        join({**made, "photo": tmp_path / "other.npz"}, tmp_path / "out")


def test_more_rows_than_are_copied_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("gramalign.data.by_id._VALUES", 7)
    rng = np.random.default_rng(0)
    ids = np.array([f"v{number}" for number in range(50)])
    arrays = {name: rng.normal(size=(50, WIDTH)) for name in ("a", "b")}
    orders = {"a": rng.permutation(50), "b": rng.permutation(50)[:40]}
    for name, order in orders.items():
        np.savez(tmp_path / f"{name}.npz", ids=ids[order], x=arrays[name][order])
    join({name: tmp_path / f"{name}.npz" for name in "ab"}, tmp_path / "out", at_least=1)
    store = open_store(tmp_path / "out")
    assert len(store) == 50
    numbers = np.array([int(name[1:]) for name in store.ids.tolist()])
    for name, array in arrays.items():
        there = store.present[name]
        np.testing.assert_array_equal(store.features[name][there], array[numbers[there]])
    assert set(numbers[store.present["b"]]) == set(orders["b"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: np.save(x / "film" / "d.npy", np.ones(2)), r"film: d is 2 wide, and a is 3"),
        (lambda x: np.save(x / "film" / "a.npy", np.ones((5, 3))), r"a is float64\[5, 3\], exp"),
        (
            lambda x: np.save(x / "film" / "a.npy", np.array(["x"])),
            r"film: a is <U1\[1\], exp",
        ),
        (lambda x: np.save(x / "film" / "d.npy", np.full(3, np.nan)), r"film: d holds NaN or Inf"),
        (lambda x: (x / "film" / "d.npy").write_bytes(b"\x93NUMPY"), r"d.npy is not a readable"),
        (lambda x: damage(x / "film" / "d.npy"), r"d.npy is not a readable"),
        (
            lambda x: np.savez(x / "text.npz", ids=np.array(["a", "a"]), t=np.ones((2, 3))),
            r"rows 0 and 1 are both 'a'",
        ),
        (lambda x: np.savez(x / "text.npz", t=np.ones((2, 3))), r"t is float64\[2, 3\], expected"),
        (lambda x: np.savez(x / "text.npz"), "is empty: expected vectors by id"),
        (
            lambda x: np.savez(x / "two.npz", ids=np.array(["a"]), y=[[1.0]], z=[[1.0]]),
            r"two.npz has y, z, and no audio: name the modality as it does",
        ),
        (lambda x: (x / "text.npz").unlink(), "text.npz does not exist"),
    ],
)
def test_sources_that_cannot_be_joined(made, tmp_path, spoil, message):
    spoil(tmp_path)
    with pytest.raises(FeatureStoreError, match=message):
        join(made, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name], "nothing is left"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"at_least": 5}, ValueError, "at_least is 5, expected a number from 1 to .* sources, 4"),
        ({"at_least": 0}, ValueError, "at_least is 0, expected a number from 1"),
        ({"sources": {}}, ValueError, "there is nothing to join: give sources, each as MODALITY="),
        ({"sources": {"ids": "a", "b": "b"}}, ValueError, "'ids' cannot name a modality"),
        ({"sources": {"present": "a"}, "at_least": 1}, ValueError, "'present' cannot name a mod"),
        ({"sources": {"a.b": "a", "b": "b"}}, ValueError, "a.b: a modality's name cannot contain"),
        (
            {"sources": {"": "a", "b": "b"}},
            ValueError,
            "a modality's name cannot .*: call it 'text'",
        ),
        ({"sources": {"__metadata__": "a", "b": "b"}}, ValueError, "reserve this name"),
        (
            {"about": {"ids": np.array(["a", "b"]), "labels": np.arange(3)}},
            ValueError,
            r"about\['labels'\] is of shape \(3,\), and its ids of \(2,\): give one for each row",
        ),
        ({"about": {"labels": np.arange(3)}}, ValueError, "give a column called 'ids'"),
        ({"about": {"ids": np.array(["a", "a"])}}, FeatureStoreError, "ids must be unique"),
        (
            {"about": {"ids": np.array(["x", "y"])}},
            FeatureStoreError,
            "in the table and 2 sources: the table has 'x', ",
        ),
    ],
)
def test_what_cannot_be_asked(made, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message):
        join(**{"sources": made, "out": tmp_path / "out"} | changes)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_more_vectors_than_a_process_may_open_files(kind, tmp_path):
    vectors = {f"v{number}": np.full(WIDTH, number, np.float32) for number in range(200)}
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **vectors)
    else:
        safetensors.numpy.save_file(vectors, path)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 100, most[1]))
    try:
        join({"text": path, "audio": path}, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    store = open_store(tmp_path / "out")
    numbers = [int(name[1:]) for name in store.ids.tolist()]
    np.testing.assert_array_equal(store.features["text"][:, 0], numbers)


def test_vectors_of_one_number(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(1), y=np.ones((1, 1)))
    join({"text": tmp_path / "a.npz", "audio": tmp_path / "a.npz"}, tmp_path / "out")
    assert open_store(tmp_path / "out").dims == {"text": 1, "audio": 1}


def test_bfloat16_becomes_float32(tmp_path):
    arrays = {"ids": np.arange(2), "text": np.ones((2, 3), ml_dtypes.bfloat16)}
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    join(dict.fromkeys(["text", "audio"], tmp_path / "a.safetensors"), tmp_path / "out")
    assert open_store(tmp_path / "out").features["text"].dtype == np.float32


def test_a_packed_store_is_a_source(made, tmp_path):
    pack(open_store(made["audio"]), tmp_path / "packed")
    join(made | {"audio": tmp_path / "packed"}, tmp_path / "out")
    join(made, tmp_path / "wanted")
    for name, wanted in open_store(tmp_path / "wanted").features.items():
        np.testing.assert_array_equal(open_store(tmp_path / "out").features[name], wanted)


def test_nothing_is_left_of_a_join_that_was_killed(made, tmp_path):
    draft = tmp_path / ".out.part"
    draft.mkdir()
    (draft / "novel.npy").touch()
    with locked(draft / "lock", "here"), pytest.raises(FileExistsError, match="another process is"):
        join(made, tmp_path / "out")
    join(made, tmp_path / "out")
    assert not draft.exists() and "novel" not in open_store(tmp_path / "out").features


def test_who_comes_as_a_join_ends_waits(made, tmp_path, monkeypatch):
    """Or it would take what is complete for left by a process that was killed."""
    rename, met = Path.rename, []

    def meanwhile(path, target):
        if path.name == ".out.part":
            with pytest.raises(FileExistsError, match="another process is making"):
                join(made, tmp_path / "out")
            met.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    join(made, tmp_path / "out")
    assert met and len(open_store(tmp_path / "out")) == 3
    assert not (tmp_path / "out" / "lock").exists()


def test_a_folder_that_is_there_stays(made, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out already exists: choose another place"):
        join(made, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_no_id_in_two_sources(tmp_path):
    for name, identity in (("a", "x.jpg"), ("b", "x")):
        np.savez(tmp_path / f"{name}.npz", ids=np.array([identity]), x=np.ones((1, 2)))
    with pytest.raises(
        FeatureStoreError, match=r"no id is in 2 sources: .*a.npz has 'x.jpg', .*'x'"
    ):
        join({name: tmp_path / f"{name}.npz" for name in "ab"}, tmp_path / "out")


def by_id(store, column):
    return dict(zip(store.ids.tolist(), getattr(store, column).tolist(), strict=True))


def test_what_sources_know_of_their_rows_is_kept(tmp_path):
    """Where it is known of all of them; what is in one group anywhere is."""

    def store(name, ids, **columns):
        vectors = np.ones((len(ids), WIDTH))
        np.savez(tmp_path / f"{name}.npz", ids=list(ids), **{name: vectors}, **columns)
        return tmp_path / f"{name}.npz"

    parts = ["train", "test", "validation"]
    sources = {
        "text": store("text", "abc", split=parts, labels=[7, 8, 9], groups=["x", "y", "y"]),
        "audio": store("audio", "dcba", split=["test", *parts[::-1]], groups=[1, 0, 2, 2]),
    }
    join(sources, tmp_path / "two")
    two = open_store(tmp_path / "two")
    assert by_id(two, "split") == {"a": "train", "b": "test", "c": "validation"}
    assert by_id(two, "labels") == {"a": 7, "b": 8, "c": 9}
    assert two.groups.tolist() == [0, 0, 0], "a and b in one source, b and c in the other"


def test_what_some_rows_lack_is_left_out(tmp_path, caplog):
    columns = {"labels": ["x", "y"], "groups": [5, 5]}
    np.savez(tmp_path / "a.npz", ids=["p", "q"], a=np.ones((2, 1)), **columns)
    np.savez(tmp_path / "b.npz", ids=["q", "r", "s"], b=np.ones((3, 1)))
    sources = {name: tmp_path / f"{name}.npz" for name in "ab"}
    join(sources, tmp_path / "out", at_least=1)
    store = open_store(tmp_path / "out")
    assert store.labels is None and store.split is None
    assert "left out labels, as no source has those of 2 rows, such as 'r': give" in caplog.text
    assert by_id(store, "groups") == {"p": 0, "q": 0, "r": 1, "s": 2}


def test_a_table_decides_where_sources_differ(tmp_path):
    for name, labels in (("a", [1, 2]), ("b", [1, 3])):
        np.savez(tmp_path / f"{name}.npz", ids=["p", "q"], x=np.ones((2, 1)), labels=labels)
    sources = {name: tmp_path / f"{name}.npz" for name in "ab"}
    with pytest.raises(
        FeatureStoreError, match=r"labels: of 'q', .*b.npz has 3, and another source 2: say in a"
    ):
        join(sources, tmp_path / "out")
    join(sources, tmp_path / "out", about={"ids": np.array(["q", "p"]), "labels": np.array([3, 1])})
    assert open_store(tmp_path / "out").labels.tolist() == [3, 1]

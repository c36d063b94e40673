"""Stores as ArrayRecord shards: the same rows, and what becomes of damage."""

import errno
import pickle

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.data import FeatureStoreError, batches, gather, load, mix, packed, readable
from gramalign.data.opening import from_arrays
from gramalign.data.packed import STORE, open_packed, pack
from tests.shards import spoil

ROWS = 100


@pytest.fixture
def store():
    rng = np.random.default_rng(0)
    return from_arrays(
        {
            "text": rng.normal(size=(ROWS, 16)).astype(np.float32),
            "audio": rng.normal(size=(ROWS, 3)).astype(np.float16),
            "present.audio": rng.random(ROWS) < 0.7,
            "ids": np.array([f"row{i}" for i in range(ROWS)]),
            "labels": rng.integers(0, 5, ROWS),
            "groups": rng.integers(0, 50, ROWS),
            "split": np.array(["train"] * 80 + ["test"] * 20),
        }
    )


@pytest.fixture
def folder(store, tmp_path):
    pack(store, f"{tmp_path}/packed", shard_rows=32)
    return tmp_path / "packed"


def shards(folder):
    return sorted(folder.glob("*.array_record"))


def same(found, wanted):
    assert found.modalities == wanted.modalities and found.dims == wanted.dims
    for name in wanted.modalities:
        assert found.features[name].dtype == wanted.features[name].dtype
        np.testing.assert_array_equal(np.asarray(found.features[name]), wanted.features[name])
        np.testing.assert_array_equal(found.present[name], wanted.present[name])
    for column in ("ids", "labels", "groups", "split"):
        np.testing.assert_array_equal(getattr(found, column), getattr(wanted, column))


def test_what_tells_how_it_was_made_is_kept(store, tmp_path):
    record = tmp_path / "media.json"
    record.write_text('{"kind": "日本"}', "utf-8")
    # The first is interrupted when all but the store's own file is there.
    with pytest.MonkeyPatch.context() as patch:
        write, folder = packed.write_text, tmp_path / "packed"
        patch.setattr(
            packed, "write_text", lambda path, text: path.name == STORE or write(path, text)
        )
        pack(store, folder, record=record)
    assert (folder / record.name).exists() and not (folder / STORE).exists()
    with pytest.raises(FeatureStoreError, match="already holds media.json"):
        pack(store, folder)
    pack(store, folder, record=record)
    assert (folder / record.name).read_bytes() == record.read_bytes()
    same(load(folder), store)


def test_there_and_back(store, folder):
    assert [p.name for p in shards(folder)] == [
        f"features-{i:05d}-of-00004.array_record" for i in range(4)
    ]
    same(load(folder), store)
    same(load(folder).part("test"), store.part("test"))


def test_one_row_at_a_time(store, folder):
    for found in (load(folder), mix([load(folder), load(folder)], [1.0, 1.0], "both")):
        for row in (0, 40, -1):
            got = found.features["text"][row]
            np.testing.assert_array_equal(got, store.features["text"][row])


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", ">i4", "<u2", "?"])
def test_whatever_the_order_of_bytes(dtype, tmp_path):
    values = (100 * np.random.default_rng(0).normal(size=(9, 5))).astype(dtype)
    pack(from_arrays({"text": values}), tmp_path / "packed")
    np.testing.assert_array_equal(np.asarray(load(tmp_path / "packed").features["text"]), values)


def test_wide_rows_are_packed_fewer_at_once(tmp_path, monkeypatch):
    wide = np.arange(7 * 2**21, dtype=np.float32).reshape(7, -1)  # of 8 MiB each
    store = from_arrays({"wide": wide})
    encoded, counts = packed._encoded, []
    monkeypatch.setattr("gramalign.data.store._VALUES", 2**23)
    monkeypatch.setattr(packed, "_encoded", lambda *x: counts.append(len(x[1])) or encoded(*x))
    pack(store, tmp_path / "packed")
    assert counts == 2 * [4, 3]
    again = load(tmp_path / "packed").features["wide"]
    np.testing.assert_array_equal(np.asarray(again), wide)


def test_a_mixture_is_packed_store_by_store(store, tmp_path):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **store.features)
    mixed = load(f"0.2*{tmp_path / 'a.npz'} + 0.8*{tmp_path / 'b.npz'}")
    with pytest.raises(FeatureStoreError, match="is a mixture, .*pack each of its stores"):
        pack(mixed, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (STORE, b"{}", "store.json is damaged .KeyError.'shards'"),
        (STORE, b'{"shards": {', "store.json is damaged"),
        ("labels.npy", b"nothing", "labels.npy is damaged: copy or pack"),
        ("labels.npy", b"", "labels.npy is damaged"),
        ("split.npy", np.arange(ROWS), "split.npy has dtype int64: pack the store again"),
        ("present.audio.npy", np.arange(ROWS), "present.audio.npy has dtype int64"),
        ("ids.npy", np.array(["a"] * 3), "ids.npy has 3 rows, its store 100"),
    ],
)
def test_what_is_known_of_rows_is_looked_at(folder, name, content, message):
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        np.save(folder / name, content)
    with pytest.raises(FeatureStoreError, match=message):
        load(folder)


def test_nothing_is_left_of_a_packing_that_was_broken_off(store, tmp_path, monkeypatch):
    other = from_arrays({name: x for name, x in store.features.items()})

    def broken_off(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("gramalign.data.packed.write_text", broken_off)
        pack(store, tmp_path / "packed", shard_rows=64)
    assert (tmp_path / "packed" / "labels.npy").exists()
    pack(other, tmp_path / "packed", shard_rows=50)
    found = load(tmp_path / "packed")
    assert found.labels is None and found.groups is None and found.present["audio"].all()
    assert len(shards(tmp_path / "packed")) == 2


def test_who_waited_for_the_folder_finds_it_taken(store, tmp_path, monkeypatch):
    folder = tmp_path / "packed"
    checked = []
    check = packed._check_free

    def slow(where, record):
        check(where, record)
        if not checked:  # another process comes and goes between this and the lock
            checked.append(where)
            pack(store, folder)

    monkeypatch.setattr(packed, "_check_free", slow)
    with pytest.raises(FeatureStoreError, match="already holds a packed store"):
        pack(from_arrays({"text": np.ones((3, 2))}), folder)
    same(load(folder), store)


def test_batches_are_those_of_the_arrays(store, folder):
    first, second = (
        batches(each.part("train"), batch_size=24, seed=3, start=2)
        for each in (load(folder), store)
    )
    for _ in range(4):
        packed, plain = next(first), next(second)
        np.testing.assert_array_equal(packed["groups"], plain["groups"])
        for kind in ("features", "present"):
            for name, x in plain[kind].items():
                np.testing.assert_array_equal(packed[kind][name], x)


def test_a_corrupt_record_is_named(folder):
    spoil(shards(folder)[1])
    store = open_packed(folder)
    with pytest.raises(
        FeatureStoreError, match=r"00001-of-00004.*: record \d+ \(row \d+\) cannot be"
    ):
        np.asarray(store.features["text"])


def test_or_left_out_and_counted(store, folder):
    spoil(shards(folder)[1])
    damaged = load(folder, on_bad_record="skip")
    batch = next(batches(damaged, batch_size=ROWS, seed=0))
    lost = damaged.lost
    assert 1 <= len(lost) < 20 and min(lost) >= 32
    assert pickle.loads(pickle.dumps(damaged)).lost == lost, "another process knows them too"
    order = np.random.default_rng([0, 0]).permutation(ROWS)
    for row, place in zip(order, range(ROWS), strict=True):
        for name, mask in batch["present"].items():
            assert mask[place] == (row not in lost and store.present[name][row])
    kept = ~np.isin(order, list(lost))
    np.testing.assert_array_equal(
        batch["features"]["text"][kept], store.features["text"][order][kept]
    )


def test_a_shard_that_is_cut_short(folder):
    path = shards(folder)[2]
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FeatureStoreError, match="00002-of-00004"):
        np.asarray(open_packed(folder).features["text"])


def test_a_shard_that_is_missing(folder):
    shards(folder)[3].unlink()
    (folder / "present.audio.npy").unlink()
    message = "lacks features-00003-of-00004.array_record, present.audio.npy: copy"
    with pytest.raises(FeatureStoreError, match=message):
        open_packed(folder)


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_shard_that_cannot_be_opened_is_no_bad_record(folder, on_bad, monkeypatch):
    store, other = (load(folder, on_bad_record=on_bad) for _ in range(2))
    shards(folder)[3].rename(folder / "elsewhere")
    with pytest.raises(FeatureStoreError, match=r"0003-of-\S* cannot be opened \(No such .* back"):
        gather(store, np.arange(ROWS))

    def too_many(path, mode):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(packed.Path, "open", too_many)
    with pytest.raises(FeatureStoreError, match=r"\(Too many open files\): allow more by `ulimit"):
        gather(other, np.arange(1))
    assert not store.lost and not other.lost


def test_shards_are_found_from_another_directory(store, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed = load("packed")
    monkeypatch.chdir("/")
    same(packed, store)


def test_what_is_read_is_changed_for_nobody_else(tmp_path):
    pack(from_arrays({"text": np.ones((3, 2), np.float32)}), tmp_path / "packed")
    store = load(tmp_path / "packed")
    for _ in range(2):
        found = gather(store, np.array([1, 2]))["features"]["text"]
        np.testing.assert_array_equal(found, np.ones((2, 2)))
        found *= 0


def test_what_cannot_be_read_is_packed_no_more(folder, tmp_path):
    spoil(shards(folder)[1])
    damaged = load(folder, on_bad_record="skip")
    pack(damaged, tmp_path / "again")
    assert 80 < len(load(tmp_path / "again")) < ROWS
    same(load(tmp_path / "again"), readable(damaged))


def test_where_nothing_can_be_read(folder):
    damaged = load(folder, on_bad_record="skip")
    damaged.lose(np.arange(ROWS))
    with pytest.raises(FeatureStoreError, match="packed: no row can be read"):
        readable(damaged)


def test_packing_goes_on_where_it_was_broken_off(store, tmp_path):
    class Killed(Exception):
        pass

    def killed(rows):
        if rows >= 64:
            raise Killed

    folder = tmp_path / "packed"
    with pytest.raises(Killed):
        pack(store, folder, shard_rows=32, report=killed)
    assert not (folder / STORE).exists() and len(shards(folder)) == 2
    kept = shards(folder)[0].stat().st_mtime_ns
    spoil(shards(folder)[1])
    pack(store, folder, shard_rows=32)
    same(load(folder), store)
    assert shards(folder)[0].stat().st_mtime_ns == kept, "what is there and right stays"


def test_two_at_once(store, tmp_path):
    def second(rows):
        if rows == 64:
            with pytest.raises(FileExistsError, match="another process is packing into"):
                pack(store, tmp_path / "packed", shard_rows=32)

    pack(store, tmp_path / "packed", shard_rows=32, report=second)
    same(load(tmp_path / "packed"), store)
    assert not (tmp_path / "packed" / "lock").exists()


def test_folders_that_hold_something_else(store, folder, tmp_path):
    with pytest.raises(FeatureStoreError, match="already holds a packed store"):
        pack(store, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(FeatureStoreError, match=r"already holds thesis.tex: give a new folder"):
        pack(store, tmp_path / "other")
    (tmp_path / "mine").mkdir()
    names = ("features-text.npy", "labels.npy", "labels.csv", "present.text.npy")
    for name in names:
        (tmp_path / "mine" / name).write_text("")
    with pytest.raises(FeatureStoreError, match="holds features-text.npy, labels.csv, labels.npy:"):
        pack(store, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(names)
    with pytest.raises(FeatureStoreError, match="shard_rows is 0"):
        pack(store, tmp_path / "new", shard_rows=0)


def test_the_command(store, tmp_path, capsys):
    source = tmp_path / "store.npz"
    np.savez(source, **{**store.features, "split": store.split})
    main(["pack", str(source), str(tmp_path / "packed"), "--shard-rows", "64"])
    assert "packed 100 rows" in capsys.readouterr().out
    found = load(tmp_path / "packed")
    np.testing.assert_array_equal(np.asarray(found.features["text"]), store.features["text"])

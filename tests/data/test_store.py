"""Parts of stores, splits by hash, and batches for embedding."""

import hashlib

import numpy as np
import pytest

from gramalign.data import (
    FeatureStore,
    FeatureStoreError,
    examples,
    from_arrays,
    hash_split,
    held_out,
    open_store,
)
from gramalign.data.store import MappedRows


@pytest.fixture
def store():
    return from_arrays(
        {
            "text": np.arange(20.0).reshape(10, 2),
            "audio": np.arange(30, dtype=np.int16).reshape(10, 3),
            "present.audio": np.arange(10) % 3 != 0,
            "ids": np.array(list("abcdefghij")),
            "labels": np.arange(10) % 2,
            "split": np.array(["train"] * 7 + ["test"] * 3),
            "groups": np.arange(10) // 2,
        }
    )


def test_take_keeps_rows_together(store):
    few = store.take(np.array([8, 1]))
    assert few.ids.tolist() == ["i", "b"]
    assert few.features["text"].tolist() == [[16.0, 17.0], [2.0, 3.0]]
    assert few.present["audio"].tolist() == [True, True]
    assert few.labels.tolist() == [0, 1]
    assert few.split.tolist() == ["test", "train"]
    assert few.groups.tolist() == [4, 0]
    assert len(few) == 2


def test_part(store):
    assert store.part("test").ids.tolist() == ["h", "i", "j"]
    with pytest.raises(
        FeatureStoreError, match=r"no rows in split 'validation'; it has test \(3\).*: mark some"
    ):
        store.part("validation")
    with pytest.raises(FeatureStoreError, match="does not say which rows are 'test'"):
        from_arrays({"text": np.ones((2, 2))}).part("test")
    assert store.part("all") is store


def test_only(store):
    assert store.only(["audio"]).modalities == ("audio",)
    assert store.only(("audio", "text")).modalities == ("audio", "text")
    assert len(store.only(["audio"])) == 10
    with pytest.raises(FeatureStoreError, match="no modality 'video'; it has text, audio"):
        store.only(["text", "video"])
    with pytest.raises(FeatureStoreError, match="modalities: got none, expected"):
        store.only([])


def test_parts_of_mapped_features_stay_in_their_file(tmp_path):
    values = np.arange(40.0).reshape(10, 4)
    np.save(tmp_path / "text.npy", values)
    part = open_store(tmp_path).take(np.array([9, 3, 5, 0])).take(np.array([2, 0]))
    rows = part.features["text"]
    assert isinstance(rows, MappedRows)
    assert (rows.shape, rows.dtype, len(rows)) == ((2, 4), np.float64, 2)
    np.testing.assert_array_equal(rows, values[[5, 9]])
    np.testing.assert_array_equal(rows[1:], values[[9]])
    np.testing.assert_array_equal(np.asarray(rows, np.float32), values[[5, 9]].astype(np.float32))
    with pytest.raises(ValueError, match="must be copied"):
        np.asarray(rows, copy=False)


@pytest.mark.parametrize(
    ("widths", "rows"), [([1], 8192), ([2**22], 4), ([2**22, 2**22], 2), ([2**25], 1)]
)
def test_the_wider_a_row_is_the_fewer_are_read_at_once(widths, rows):
    """Of all modalities together."""
    features = {str(n): np.empty((0, width), np.float32) for n, width in enumerate(widths)}
    present = dict.fromkeys(features, np.ones(0, bool))
    assert FeatureStore(features, present, np.empty(0, str)).rows_at_once == rows


def test_examples_pad_the_last_batch(store):
    got = list(examples(store, 4))
    assert [count for _, count in got] == [4, 4, 2]
    for batch, _ in got:
        assert batch["features"]["audio"].shape == (4, 3)
        assert batch["features"]["audio"].dtype == np.float32
        assert batch["present"]["audio"].shape == (4,)
    assert not got[-1][0]["present"]["text"][2:].any()
    text = np.concatenate([batch["features"]["text"][:count] for batch, count in got])
    np.testing.assert_array_equal(text, store.features["text"])


def test_absent_rows_come_as_zeros():
    content = {"text": np.ones((4, 2)), "audio": np.ones((4, 2)), "present.text": np.arange(4) != 1}
    content["text"][1] = [np.nan, 1e300]
    ((batch, _),) = examples(from_arrays(content), 4)
    assert batch["features"]["text"].tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]
    assert np.isnan(content["text"][1, 0])  # the caller's array stays as it was


@pytest.mark.parametrize("size", [0, "5", 2.0])
def test_examples_want_rows(size, store, unchecked):
    message = f"batch_size is {size!r}, expected a whole number, at least 1"
    with pytest.raises(ValueError, match=message):
        next(examples(store, size))


def test_one_row_is_not_told_as_several(store):
    assert repr(store.take(np.arange(1))).startswith("FeatureStore(arrays: 1 row; ")
    assert repr(store).startswith("FeatureStore(arrays: 10 rows; ")


def test_hash_split_is_the_documented_rule():
    ids = np.array([f"row {i}" for i in range(100)])
    test = [int(hashlib.sha1(name.encode()).hexdigest(), 16) % 5 == 0 for name in ids.tolist()]
    assert (hash_split(ids) == "test").tolist() == test
    assert hash_split(ids[::-1]).tolist() == hash_split(ids)[::-1].tolist()


@pytest.mark.parametrize("kind", [int, np.uint8, bytes, object])
def test_hash_split_of_ids_as_a_store_may_have_them(kind):
    text = np.arange(100).astype(str)
    np.testing.assert_array_equal(hash_split(text.astype(kind)), hash_split(text))
    taken = held_out(text.astype(kind), 0.3)
    np.testing.assert_array_equal(taken, held_out(text, 0.3))


@pytest.mark.parametrize("ids", [np.arange(4.0), np.array([None, "a"]), np.zeros((2, 2), int)])
def test_no_ids_to_split_by(ids, unchecked):
    message = rf"ids: got {ids.dtype} .*, expected one string .*\.astype\(str\)"
    with pytest.raises(ValueError, match=message):
        hash_split(ids)
    with pytest.raises(ValueError, match=message):
        held_out(ids, 0.5)


def test_groups_of_other_rows(unchecked):
    with pytest.raises(ValueError, match=r"groups: got \(3,\), expected .* each id, \(4,\)"):
        hash_split(np.arange(4), np.arange(3))


def test_hash_split_never_divides_a_group():
    ids = np.arange(200).astype(str)
    groups = 100 - np.arange(200) % 40  # in no order of their first rows
    split = hash_split(ids, groups)
    assert (split.reshape(5, 40) == split[:40]).all()
    np.testing.assert_array_equal(split[:40], hash_split(ids[:40]))


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_none_or_all_may_be_held_out(fraction):
    assert held_out(np.arange(50).astype(str), fraction).tolist() == [bool(fraction)] * 50


@pytest.mark.parametrize("fraction", [1.5, -0.1, float("nan")])
def test_a_fraction_that_is_none(fraction):
    with pytest.raises(ValueError, match=f"fraction is {fraction}, expected one from 0 to 1"):
        held_out(np.arange(4).astype(str), fraction)

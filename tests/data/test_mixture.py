"""Several stores as one: what its rows are, and what its batches hold."""

import hashlib
import itertools

import ml_dtypes
import numpy as np
import pytest

from gramalign.cli.evaluate import evaluate_run
from gramalign.cli.train import default_out
from gramalign.data import (
    FeatureStoreError,
    batches,
    from_arrays,
    hash_split,
    load,
    mix,
    open_store,
)
from gramalign.data.joined import JoinedRows
from gramalign.data.order import MixedOrder
from gramalign.data.packed import pack
from gramalign.data.shares import Mixture
from gramalign.data.store import MappedRows
from gramalign.training import Config, Layout, Model, Optimizer, train
from gramalign.training.moments import moments
from tests.data.test_packed import shards, spoil

A, B, C = 10, 25, 7  # rows


def numbered(rows, start, *modalities, **more):
    """A store whose rows of each modality hold their number in the mixture of all."""
    numbers = np.arange(start, start + rows, dtype=np.float32)[:, None]
    return from_arrays({**{name: numbers * [1, 1] for name in modalities}, **more})


def three(weights=(0.5, 0.3, 0.2), *, groups=True):
    """Three stores mixed, of which the last lacks text, and the second audio."""
    stores = (
        numbered(A, 0, "text", "audio", **({"groups": np.arange(A) // 2} if groups else {})),
        numbered(B, A, "text", "video"),
        numbered(C, A + B, "audio", "video", **{"present.audio": np.arange(C) != 3}),
    )
    return mix(stores, weights, "all")


def rows_of(store, batch_size, count, **more):
    """The row numbers of some batches."""
    taken = itertools.islice(batches(store, batch_size=batch_size, seed=3, **more), count)
    return np.stack([batch["groups"] for batch in taken])


def test_one_store_has_the_batches_that_it_always_had():
    n = np.arange(23)
    store = from_arrays({"text": n[:, None] * [1.0, 10.0], "labels": n % 5, "groups": n // 2})
    digest = hashlib.sha256()
    for batch in itertools.islice(batches(store, batch_size=7, seed=3), 9):
        for values in (batch["features"]["text"], batch["labels"], batch["groups"]):
            digest.update(values.tobytes())
    assert digest.hexdigest() == "8bbf00fd2cb1f98009ed77ff956a8dd4673c555c1ee577e74d1d9d44ada10cd8"


def test_the_union_of_modalities_with_masks():
    store = three(groups=False)
    assert store.modalities == ("text", "audio", "video") and len(store) == A + B + C
    number = np.arange(A + B + C)
    there = {
        "text": number < A + B,
        "audio": (number < A) | (number >= A + B),
        "video": number >= A,
    }
    there["audio"] &= number != A + B + 3
    batch = next(batches(store, batch_size=20, seed=0))
    rows = batch["groups"]
    assert store.mixture.of.tolist() == [0] * A + [1] * B + [2] * C
    for name, mask in there.items():
        np.testing.assert_array_equal(store.present[name], mask)
        found = np.asarray(store.features[name])
        np.testing.assert_array_equal(found[mask, 0], number[mask])
        np.testing.assert_array_equal(batch["present"][name], mask[rows])
        np.testing.assert_array_equal(
            batch["features"][name][:, 0], np.where(mask, number, 0)[rows]
        )


def test_every_batch_has_the_share_of_each():
    store = three(groups=False)
    found = store.mixture.of[rows_of(store, 20, 30)]
    for number, share in enumerate((10, 6, 4)):
        assert ((found == number).sum(axis=1) == share).all()
    # Evenly: of any quarter of a batch, within one row.
    for quarter in np.split(found[0], 4):
        for number, share in enumerate((10, 6, 4)):
            assert abs((quarter == number).sum() - share / 4) <= 1


def test_every_row_once_in_an_epoch_of_its_store():
    store = three(groups=False)
    found = rows_of(store, 20, 50)
    orders = set()
    for number, rows in enumerate((A, B, C)):
        stream = found[store.mixture.of[found] == number]
        epochs = stream[: len(stream) // rows * rows].reshape(-1, rows)
        assert len(epochs) >= 12
        assert (np.sort(epochs) == store.mixture.rows(number)).all()
        orders |= {tuple(np.argsort(epoch)[:C]) for epoch in epochs}
    assert len(orders) > 60, "each in an order of its own"


@pytest.mark.parametrize(
    ("weights", "size", "shares"),
    [
        ((1.0, 1.0, 1.0), 8, [3, 3, 2]),  # of equal remainders the first
        ((0.7, 0.2, 0.1), 10, [7, 2, 1]),
        ((0.5, 0.25, 0.25), 6, [3, 2, 1]),
        ((1e308, 1e308, 1e308), 3, [1, 1, 1]),
        ((2.0, 3.0, 4.0), 16, [4, 5, 7]),
    ],
)
def test_shares_by_largest_remainders(weights, size, shares):
    of = np.repeat(np.arange(3), 9)
    assert Mixture(("a", "b", "c"), weights, of).shares(size) == shares


def test_rows_of_each_store_are_spread_evenly():
    mixture = Mixture(("a", "b", "c"), (1.0, 2.0, 4.0), np.repeat(np.arange(3), 9))
    rows = MixedOrder(mixture, 7, seed=0)[0]
    assert mixture.of[rows].tolist() == [2, 1, 2, 0, 2, 1, 2]
    assert (MixedOrder(mixture, 7, seed=1)[0] != rows).any(), "in an order of the seed's"


def test_stores_of_one_size_have_orders_of_their_own():
    mixture = Mixture(("a", "b"), (1.0, 1.0), np.repeat(np.arange(2), 99))
    rows = MixedOrder(mixture, 198, seed=0)[0]
    assert mixture.of[rows].tolist() == [0, 1] * 99
    assert (rows[::2] + 99 != rows[1::2]).any()


def test_start_and_places_follow_from_the_number():
    store = three(groups=False)
    whole = rows_of(store, 20, 9)
    np.testing.assert_array_equal(rows_of(store, 20, 4, start=5), whole[5:])
    halves = [
        rows_of(store, 20, 9, places=np.arange(20)[half]) for half in (np.s_[:10], np.s_[10:])
    ]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole)
    assert all(set(store.mixture.of[half[0]]) == {0, 1, 2} for half in halves)


def test_no_group_is_in_two_stores():
    groups = three().groups
    assert groups[:A].tolist() == (np.arange(A) // 2).tolist()
    assert len(set(groups[A:])) == B + C and min(groups[A:]) > max(groups[:A])
    assert three(groups=False).groups is None


def test_labels_are_all_text_or_all_numbers():
    named = numbered(4, 0, "text", labels=np.array(["b", "a", "b", "a"]))
    numbers = numbered(4, 0, "text", labels=np.arange(4))
    assert mix([named, named], [1.0, 1.0], "both").labels.tolist() == ["b", "a", "b", "a"] * 2
    with pytest.raises(FeatureStoreError, match="text in some and numbers in others of"):
        mix([named, numbers], [1.0, 1.0], "both")


def test_labels_only_if_all_have_them():
    rows = np.arange(4)
    labelled, other = (numbered(4, 0, "text", labels=rows + start) for start in (0, 2))
    both = mix([labelled, other], [1.0, 1.0], "both")
    assert both.labels.tolist() == [0, 1, 2, 3, 2, 3, 4, 5]
    assert mix([labelled, numbered(4, 0, "text")], [1.0, 1.0], "both").labels is None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with the stores a.npz and b, a folder of files."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("a.npz", text=rng.normal(size=(30, 4)).astype(np.float32), ids=np.arange(30) + 100)
    (tmp_path / "b").mkdir()
    np.save("b/text.npy", rng.normal(size=(50, 4)).astype(np.float16))
    np.save("b/audio.npy", rng.normal(size=(50, 3)).astype(np.float32))
    return tmp_path


def test_ids_and_split_are_those_of_each_store(folder):
    store = load("0.5*a.npz + b")
    assert store.mixture.names == ("a.npz", "b") and store.mixture.weights == (0.5, 1.0)
    assert store.ids[:2].tolist() == ["a/100", "a/101"] and store.ids[30] == "b/0"
    split = np.concatenate([load("a.npz").split, load("b").split])
    np.testing.assert_array_equal(store.split, split)
    assert not (store.split == hash_split(store.ids)).all(), "or nothing was seen here"
    train = store.part("train")
    assert train.mixture.of.tolist() == store.mixture.of[split == "train"].tolist()
    assert train.only(["text"]).mixture is train.mixture


def test_ids_of_a_store_inside_of_a_folder_called_like_another(tmp_path):
    for inner, ids in (("x/a", ["a/0", "1"]), ("x/a/a", ["0", "2"])):
        (tmp_path / inner).mkdir(parents=True)
        np.save(tmp_path / inner / "text.npy", np.ones((2, 3), np.float32))
        np.save(tmp_path / inner / "ids.npy", np.array(ids))
    mixed = load(f"{tmp_path / 'x/a'} + {tmp_path / 'x/a/a'}")
    assert len(set(mixed.ids.tolist())) == 4


def test_a_path_that_ends_in_a_blank(tmp_path):
    (tmp_path / "s ").mkdir()
    np.save(tmp_path / "s " / "text.npy", np.ones((9, 3), np.float32))
    assert len(load(str(tmp_path / "s "))) == 9


def test_a_path_that_is_there_is_no_mixture(folder):
    (folder / "b").rename(folder / "a.npz + b")
    assert load("a.npz + b").mixture is None and len(load("a.npz + b")) == 50
    (folder / "a.npz + b").rename(folder / "0.5*b")
    assert load("a.npz + 0.5*b").mixture.weights == (1.0, 1.0)
    assert load("2 * a.npz").mixture is None, "of one store its weight is all"


def test_features_stay_in_their_files(folder, monkeypatch):
    store = load("a.npz + b")
    assert store.dims == {"text": 4, "audio": 3}
    assert store.features["text"].dtype == np.float32

    def never(self, index):
        raise AssertionError("read from a store of which no row was asked for")

    rows = np.array([29, 3])
    np.testing.assert_array_equal(
        store.take(rows).features["text"][:], open_store("a.npz").features["text"][rows]
    )
    parts = store.features["text"]._array._parts
    assert all(isinstance(part._array, np.memmap) for part in parts)
    parts[1].__class__ = type("Never", (MappedRows,), {"__getitem__": never})
    store.features["text"][rows]
    with pytest.raises(AssertionError, match="no row was asked for"):
        store.features["text"][np.array([30])]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (np.float16, np.float32, np.float32),
        (np.int16, np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32, np.float32),
        (ml_dtypes.bfloat16, np.float16, np.float32),
        (ml_dtypes.bfloat16, ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    ],
)
def test_the_common_dtype(one, other, common):
    joined = JoinedRows([np.ones((2, 3), one), None, np.ones((2, 3), other)], [2, 4, 2])
    assert joined.dtype == common
    assert joined[np.array([7, 3, 0])].astype(np.float32).tolist() == [[1] * 3, [0] * 3, [1] * 3]


def test_moments_are_pooled_over_the_rows_that_are_there(folder):
    store = load("a.npz + b")
    a, b = open_store("a.npz").features, open_store("b").features
    text = np.concatenate([np.float64(a["text"]), np.float64(b["text"])])
    for name, values in {"text": text, "audio": np.float64(b["audio"])}.items():
        mean, std = moments(store)[name]
        np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-5)


@pytest.fixture
def damaged(folder):
    """The mixture with a packed store, of which some records are damaged, in the middle."""
    pack(open_store("b"), folder / "packed", shard_rows=25)
    spoil(shards(folder / "packed")[1])
    return "a.npz + packed + b"


def test_a_damaged_record_is_named(damaged):
    with pytest.raises(
        FeatureStoreError, match=r"packed/features-00001-of.*record \d+ \(row \d+\)"
    ):
        np.asarray(load(damaged).features["audio"])


def test_or_left_out_and_counted(damaged):
    store = load(damaged, on_bad_record="skip")
    batch = next(batches(store, batch_size=66, seed=0, places=np.arange(66)))
    assert store.lost and all(30 + 25 <= row < 30 + 50 for row in store.lost)
    alone = load("packed", on_bad_record="skip")
    np.asarray(alone.features["text"]), np.asarray(store.features["text"])
    assert store.lost == {30 + row for row in alone.lost}
    assert store.part("train").lost == store.lost
    rows = batch["groups"]
    expected = store.present["audio"][rows] & ~np.isin(rows, list(store.lost))
    np.testing.assert_array_equal(batch["present"]["audio"], expected)
    assert not batch["features"]["text"][np.isin(rows, list(store.lost))].any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a.npz + c", r"no data 'c': expected 'digits', or the path"),
        ("a.npz +b", r"no data 'a.npz \+b'.*or several, with spaces around the plus"),
        ("half*a.npz + b", r"weight 'half' is not a number; expected weight\*path"),
        ("0*a.npz + b", "weight 0 must be positive and finite"),
        ("nan*a.npz + b", "weight nan must be positive and finite"),
        ("inf*a.npz + b", "weight inf must be positive and finite"),
        ("a.npz +  + b", "'' does not name a store"),
        ("0.5* + b", r"'0.5\*' does not name a store"),
        ("a.npz + 2*a.npz", "'a.npz' appears twice; add up its weights"),
        ("b + ./b/", "'b' and './b/' appears twice"),
    ],
)
def test_what_is_no_mixture(folder, data, message):
    with pytest.raises(FeatureStoreError, match=message):
        load(data)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, np.inf]])
def test_weights_that_do_not_fit(weights):
    with pytest.raises(FeatureStoreError, match="for 2 stores, expected a positive, finite number"):
        mix([numbered(3, 0, "text"), numbered(3, 0, "text")], weights, "both")


def test_an_embedded_set_and_a_path_of_its_name(folder):
    (folder / "b").rename(folder / "digits")
    store = load("digits + ./digits")
    assert len(store) == 1797 + 50
    assert store.ids[[0, -1]].tolist() == ["digits:0/0", "digits:1/49"]


def test_widths_that_differ(folder):
    np.savez("c.npz", text=np.ones((3, 5), np.float32))
    with pytest.raises(
        FeatureStoreError, match="text has 4 features a row in b, but 5 in c.npz: .* such as text_2"
    ):
        load("b + c.npz")


@pytest.mark.parametrize(
    ("weights", "size", "message"),
    [
        ((1.0, 1.0, 0.01), 20, "x has 0.005 of the weight .* a batch of 20: .* such as 201"),
        ((1.0, 1.0, 4.0), 18, "x has 7 rows here, .* a batch of 18 takes 12: .* such as 10"),
    ],
)
def test_shares_that_do_not_fit(weights, size, message):
    store = three(weights)
    named = Mixture(("a", "b", "x"), weights, store.mixture.of)
    with pytest.raises(ValueError, match=message):
        named.shares(size)


def test_a_store_without_rows_or_modalities_is_named(folder):
    np.savez("c.npz", audio=np.ones((3, 3), np.float32), split=np.full(3, 2))
    store = load("b + c.npz")
    with pytest.raises(ValueError, match="c.npz has no rows here: leave it out"):
        batches(store.part("train"), batch_size=4, seed=0)
    with pytest.raises(ValueError, match="c.npz has none of text here: leave it out"):
        batches(store.only(["text"]), batch_size=4, seed=0)
    assert len(store.part("test")) > 3


@pytest.mark.slow
def test_a_run_on_a_mixture(tmp_path, monkeypatch):
    """Of which one store lacks a modality that only the other has."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name, rows, widths in (
        ("first.npz", 60, {"text": 10, "audio": 7}),
        ("more.npz", 40, {"text": 10, "video": 5}),
    ):
        views = {name: rng.normal(size=(rows, width)) for name, width in widths.items()}
        np.savez(name, **{key: view.astype(np.float32) for key, view in views.items()})
    rows = []
    config = Config(
        data="0.75*first.npz + 0.25*more.npz",
        objective="clip",
        model=Model(dim=8, hidden=16),
        optimizer=Optimizer(warmup=1),
        layout=Layout(data=1),
        steps=6,
        batch_size=16,
        log_every=2,
    )
    assert default_out("digits", config).name == "first+more"
    run = train(config, tmp_path / "run", report=rows.append)
    assert run.dims == {"text": 10, "audio": 7, "video": 5}
    assert np.isfinite([row["loss"] for row in rows]).all()
    result = evaluate_run(run)
    assert result.to_json()

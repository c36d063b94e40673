"""Rows that code of one's own reads: as those of any other store, and checked where they are."""

import pickle
import sys

import grain
import numpy as np
import pytest

from gramalign.data import FeatureStoreError, batches, from_arrays, from_rows, gather, load
from gramalign.data.expression import parse, short_names
from gramalign.data.packed import pack

ROWS = 40

MODULE = """
import grain
import numpy as np
from gramalign.data import FeatureStore, from_arrays, from_rows

called = []

class Films:
    def __init__(self, width):
        self.width = width

    def __len__(self):
        return 40

    def __getitem__(self, row):
        if row == 7 and self.width == 9:
            raise OSError("the tape is torn")
        drawn = np.random.default_rng(row).normal(size=(2, self.width)).astype(np.float32)
        return {"text": drawn[0], "audio": drawn[1] if row % 3 else None}

def films(width: int = 4) -> FeatureStore:
    heard = np.arange(40) % 3 != 0
    return from_rows(Films(width), {"present.audio": heard, "labels": np.arange(40) % 5})

def later(width: int) -> "FeatureStore":
    return films(width)

def wrong() -> FeatureStore:
    return Films(4)

def undeclared(width: int = 4):
    called.append(width)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


class Rows:
    """A source that counts how often it is asked."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        self.asked.append(row)
        return self.rows[row]


def some(number=ROWS):
    rng = np.random.default_rng(0)
    text, audio = rng.normal(size=(number, 3)), rng.integers(0, 9, (number, 2)).astype(np.int16)
    heard = np.arange(number) % 4 != 0
    columns = {"present.audio": heard, "ids": np.array([f"f{i}" for i in range(number)])}
    rows = [{"text": text[i]} | ({"audio": audio[i]} if heard[i] else {}) for i in range(number)]
    return Rows(rows), columns, {"text": text, "audio": audio, **columns}


def same(found, wanted):
    for kind in ("features", "present"):
        for name, values in wanted[kind].items():
            np.testing.assert_array_equal(found[kind][name], values)


def test_rows_of_ones_own_are_those_of_arrays():
    rows, columns, arrays = some()
    own, plain = from_rows(rows, columns), from_arrays(arrays)
    assert own.dims == plain.dims and own.ids.tolist() == plain.ids.tolist()
    assert {name: x.dtype for name, x in own.features.items()} == {
        name: x.dtype for name, x in plain.features.items()
    }
    order = np.random.default_rng(1).permutation(ROWS)
    same(gather(own, order), gather(plain, order))
    few = np.array([8, 3, 3, 30])  # absent in the first, and one row twice
    same(gather(own.take(few), np.arange(4)), gather(plain.take(few), np.arange(4)))
    same(gather(own, few[:0]), gather(plain, few[:0]))


def test_one_row_of_each_modality_is_read_at_first_and_a_batch_once_for_all_of_them():
    rows, columns, _ = some()
    store = from_rows(rows, columns)
    assert rows.asked == [0, 0, 1], "the first one again, to see that it stays"
    rows.asked.clear()
    gather(store, np.arange(10, 20))
    assert sorted(rows.asked) == list(range(10, 20))


def test_rows_that_are_drawn_each_time_are_refused():
    rng = np.random.default_rng(0)
    rows = grain.MapDataset.range(3).map(lambda row: {"text": rng.normal(size=2)})
    with pytest.raises(FeatureStoreError, match="row 0 has another 'text' when it is read again"):
        from_rows(rows)


def test_batches_of_a_pipeline_also_in_other_processes():
    rows = grain.MapDataset.range(ROWS).map(
        lambda row: {"text": np.arange(3.0) + row, "audio": np.full(2, row)}
    )
    store = from_rows(rows)
    assert store.source == type(rows).__name__
    here, there = (batches(store, batch_size=8, seed=0, workers=n) for n in (0, 1))
    for _ in range(6):
        one, other = next(here), next(there)
        same(other, one)
        np.testing.assert_array_equal(one["features"]["audio"][:, 0], one["groups"])
    there.close()


def test_a_store_of_ones_own_is_pickled_with_its_masks():
    rows, columns, arrays = some()
    store = pickle.loads(pickle.dumps(from_rows(rows, columns)))
    same(gather(store, np.arange(ROWS)), gather(from_arrays(arrays), np.arange(ROWS)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": np.full(3, np.nan), "audio": np.ones(2)}, "row 1: 'text' holds NaN or Inf"),
        ({"text": np.full(3, 1e39), "audio": np.ones(2)}, "too large for float32"),
        ({"text": np.ones(4), "audio": np.ones(2)}, r"'text' is float64\[4\], others float64\[3\]"),
        ({"text": np.ones(3, int), "audio": np.ones(2)}, r"is int64\[3\], others float64\[3\]"),
        ({"text": np.ones((1, 3)), "audio": np.ones(2)}, r"is float64\[1, 3\], others"),
        ({"text": np.ones(3)}, r"row 1 has no 'audio': if rows may lack it.* 'present.audio'"),
        ({"text": np.ones(3), "audio": None}, "row 1 has no 'audio'"),
        ({"text": np.ones(3), "audio": [1.0, [2.0]]}, "row 1: 'audio' is no array: setting an"),
        (
            {"text": np.ones(3), "audio": np.ones(2), "film": np.ones(2)},
            "'film', which row 0 has not",
        ),
        ({"text": np.ones(3), "audio": "a dog"}, "row 1: 'audio' has dtype <U5.* into columns"),
        ({"text": np.ones(3), 3: np.ones(2)}, "row 1 calls a modality 3, expected a text"),
        (3, "row 1 is of type int, expected a mapping"),
    ],
)
def test_a_row_that_is_not_as_the_first_is_an_error_when_it_is_read(row, message):
    good = {"text": np.ones(3), "audio": np.ones(2)}
    store = from_rows([good, row, good], source="films")
    assert gather(store, np.array([0, 2]))["features"]["text"].tolist() == [[1, 1, 1]] * 2
    with pytest.raises(FeatureStoreError, match=f"films: .*{message}"):
        gather(store, np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], {}, "films has no rows"),
        ([3], {}, "row 0 is of type int, expected a mapping"),
        ([{}], {}, "films has no modality"),
        (grain.MapDataset.range(3).repeat(), {}, r"films is endless: leave out its repeat\(\)"),
        ([{"text": np.ones(3), "audio": None}], {}, "row 0 has no 'audio': if rows may lack it"),
        ([{"text": np.ones(0)}], {}, r"row 0: text has shape \(0,\), expected \[width\]"),
        ([{"text": np.ones((3, 4))}], {}, r"row 0: text has shape \(3, 4\).*reshape it"),
        ([{"text": 1.0}], {}, r"row 0: text has shape \(\)"),
        ([{"text": "a dog"}], {}, "row 0: 'text' has dtype <U5, expected real numbers"),
        ([{"a.b": np.ones(3)}], {}, "cannot contain a dot"),
        ([{"ids": np.ones(3)}], {}, "row 0 has 'ids', which describes it: .* in columns"),
        ([{"present": np.ones(3)}], {}, "'present' cannot name a modality"),
        ([None], {}, "row 0 is of type NoneType.* a filter leaves out"),
        ([{"text": np.ones(3)}], {"ids": np.arange(2)}, "films: ids has 2 rows, expected 1"),
        ([{"text": np.ones(3)}], {"id": np.arange(1)}, "films: id is no column; these are ids,"),
        ([{"text": np.ones(3)}] * 2, {"present.text": [True, False]}, "row 1 has no modality"),
        (
            [{"text": np.ones(3)}],
            {"present.audio": [True]},
            "row 0 has no 'audio': 'present.audio' in",
        ),
        ([{"text": np.ones(3)}], {"present.audio": [False]}, "present.audio is False everywhere"),
    ],
)
def test_what_is_wrong_at_first_sight(rows, columns, message):
    with pytest.raises(FeatureStoreError, match=message):
        from_rows(rows, columns, source="films")


@pytest.mark.usefixtures("unchecked")
def test_an_iterator_is_no_source():
    with pytest.raises(FeatureStoreError, match=r"generator is of .*expected a source with len"):
        from_rows(x for x in "abc")


def test_stores_by_name(mine):
    store = load("mine:films(width=6)")
    assert store.source == "mine:films(width=6)" and store.dims == {"text": 6, "audio": 6}
    assert set(store.split) == {"train", "test"}
    later = load("mine:later(width=6)")
    same(gather(later, np.arange(ROWS)), gather(store, np.arange(ROWS)))
    mixed = load("0.3*mine:films(width=6) + mine:later(width=6)")
    assert len(mixed) == 2 * ROWS and mixed.ids[0] == "mine.films/0"
    pack(store, mine / "packed")
    same(gather(load("packed"), np.arange(ROWS)), gather(store, np.arange(ROWS)))
    (mine / "mine:films").mkdir()
    with pytest.raises(FeatureStoreError, match="has no .npy file"):
        load("mine:films")  # a path comes first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine:films(height=3)", "expected settings of mine:films among width$"),
        ("mine:later", "expected it to set width too"),
        ("mine:films(width)", "expected settings by name, as in Python"),
        ("mine:other", "has no 'other'"),
        ("mine.py:films", "write mine:films, with PYTHONPATH set"),
        ("mine:wrong", "returns Films, expected a FeatureStore, such as from_rows"),
        ("mine:Films(width=3)", "declared to return a gramalign.data.FeatureStore"),
        ("mine:undeclared", "declared to return a gramalign.data.FeatureStore"),
        ("mine:called", "declared to return"),
        ("gramalign.data:from_arrays(arrays={})", "expected a function of your own"),
        ("gramalign.media:features(table='t.csv', out='out')", "expected a function of your own"),
        ("mine:films + mine:films()", "'mine:films' and 'mine:films\\(\\)' appears twice"),
    ],
)
def test_names_that_cannot_be_loaded(mine, text, message):
    with pytest.raises(FeatureStoreError, match=message):
        load(text)
    assert not getattr(sys.modules.get("mine"), "called", [])  # by no run of anyone


def test_what_a_row_raises_tells_which_row_and_line(mine):
    store = load("mine:films(width=9)")
    with pytest.raises(OSError, match="torn") as caught:
        gather(store, np.arange(5, 10))
    (note,) = caught.value.__notes__
    line = MODULE.splitlines().index('            raise OSError("the tape is torn")') + 1
    assert note == f"That was row 7 of mine:films(width=9), {mine / 'mine.py'}:{line}"


def test_names_in_expressions():
    assert parse("0.5*mine:films(what='a + b*c', n=(1, 2)) + mine:films()") == {
        "mine:films(what='a + b*c', n=(1, 2))": 0.5,
        "mine:films()": 1.0,
    }
    assert parse("a (1).npz + b.npz") == {"a (1).npz": 1.0, "b.npz": 1.0}
    names = ["mine:films(folder='x/a.b')", "mine:others"]
    assert short_names(names) == ["mine.films", "mine.others"]
    assert short_names(twice := ["mine:films(n=1)", "mine:films(n=2)"]) == twice

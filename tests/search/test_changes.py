"""Rows are added, replaced and removed: the index is the one built anew, to the bit."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramalign import Index
from gramalign.scores import SCORE_NAMES
from tests import samples

DIM = 5
EYE = np.eye(4, dtype=np.float32)


def rows(ids, names="ab", seed=0):
    """Per id the modalities that it has: two thirds of them, rows of any length."""
    rng = np.random.default_rng(seed)
    return {
        str(name): {m: rng.normal(size=DIM) for m in names if rng.random() < 0.7} for name in ids
    }


def built(rows, modalities="ab", **settings):
    """An index of such rows, made at once."""
    absent = np.full(DIM, np.nan)
    embeddings = {m: np.stack([row.get(m, absent) for row in rows.values()]) for m in modalities}
    present = {m: np.array([m in row for row in rows.values()]) for m in modalities}
    return Index(embeddings, present, list(rows), **settings)


def gallery(ids, names="ab", seed=0, **settings):
    """An index of random rows."""
    return built(rows(ids, names, seed), names, **settings)


def assert_same(index, expected):
    assert index.modalities == expected.modalities
    assert index.ids.tolist() == expected.ids.tolist() and index.made_by == expected.made_by
    for name in index.modalities:
        found, wanted = (x.embeddings[name].view(np.uint32) for x in (index, expected))
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(index.present[name], expected.present[name])


def assert_finds_the_same(index, expected, k=7, **how):
    query = {"q": samples.unit(np.random.default_rng(9), 3, DIM)}
    found, wanted = (x.search(query, k, **how) for x in (index, expected))
    np.testing.assert_array_equal(found.scores, wanted.scores)
    np.testing.assert_array_equal(found.numbers, wanted.numbers)
    np.testing.assert_array_equal(found.ids, wanted.ids)


CHANGES = st.tuples(
    st.sampled_from(["join", "replace", "remove"]),
    st.lists(st.integers(0, 15), min_size=1, max_size=6, unique=True),
    st.sampled_from(["a", "ab", "bc"]),
)


@given(st.lists(CHANGES, min_size=1, max_size=6))
def test_any_changes_leave_the_rows_of_a_dict_that_was_changed_so(changes):
    have, modalities = rows(["first", "0", "1"]), "ab"
    index = built(have)
    for seed, (change, ids, names) in enumerate(changes):
        if change == "remove":
            gone = [name for name in ids if str(name) in have]
            index = index.without(gone)
            have = {name: row for name, row in have.items() if name not in map(str, gone)}
            continue
        if change == "join":
            ids = [name for name in ids if str(name) not in have] or [f"of {seed}"]
        more = rows(ids, names, seed)
        index = index.joined(built(more, names), replace=change == "replace")
        have |= more
        modalities = "abc" if "c" in names else modalities
    assert_same(index, built(have, modalities))


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_a_search_equals_that_of_an_index_built_anew(score):
    two, have, more = jax.devices()[:2], rows(range(40), "abc"), rows([7, "new", 39], "b", 1)
    index = built(have, "abc", devices=two)
    assert_finds_the_same(index, index, score=score)  # its factors are there
    changed = index.joined(built(more, "b"), replace=True).without(["0", "20"])
    have = {name: row for name, row in (have | more).items() if name not in ("0", "20")}
    assert_finds_the_same(changed, built(have, "abc", devices=two), score=score)


def test_no_index_is_changed(tmp_path):
    index, other = gallery("xyz"), gallery("zw", seed=1)
    before = copy.deepcopy(index), copy.deepcopy(other)
    changed = index.joined(other, replace=True), index.without("x"), index.without([])
    assert_same(index, before[0])
    assert_same(other, before[1])
    index.save(tmp_path / "index.safetensors")
    for one in (index, *before, *changed, Index.load(tmp_path / "index.safetensors")):
        for x in (one.embeddings["a"], one.present["b"], one.ids):
            with pytest.raises(ValueError, match="read-only"):
                x[:] = x[::-1]


def test_it_stays_on_its_devices_and_says_what_made_it():
    index = gallery("xyz", made_by="größer 3", devices=jax.devices()[3:5])
    other = gallery("w", made_by="größer 3")
    for changed in (index.joined(other), index.without("y")):
        assert changed.made_by == "größer 3"
        changed.search({"q": np.ones((1, DIM))}, 1)
        (cols,) = changed._factors.values()
        assert cols.valid.devices() == set(jax.devices()[3:5])


@pytest.mark.parametrize("ids", ["y", ["y"], np.array(["y"]), np.array(["y", "y"], object)])
def test_ids_of_rows_to_remove(ids):
    assert gallery(["x", "y", "yy"]).without(ids).ids.tolist() == ["x", "yy"]
    assert gallery([3, 4, 33]).without(np.array([4])).ids.tolist() == ["3", "33"]
    assert gallery(["x", "y", "yy"]).without(np.array("y")).ids.tolist() == ["x", "yy"]


def test_what_was_changed_is_saved_as_if_built_anew(tmp_path):
    have, more = rows(["x", "a longer name", "y"]), rows("zw", "a")
    changed = built(have).joined(built(more, "a")).without("a longer name")
    changed.save(tmp_path / "changed.safetensors")
    assert_same(Index.load(tmp_path / "changed.safetensors"), changed)
    del have["a longer name"]
    built(have | more).save(tmp_path / "built.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("changed", "built")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Index({"a": EYE}, ids=list("wxyz")),
            "the index has 'x' already .3 such rows.*replace=True",
        ),
        (
            Index({"a": EYE[:, :3]}, ids=list("1234")),
            "other: got dim 3, expected that of the index, 4",
        ),
        (
            Index({"a": EYE}, ids=list("1234"), made_by="old 2"),
            "other: got rows made by 'old 2', expected by ''.*made_by=index.made_by",
        ),
    ],
)
def test_what_cannot_be_joined(other, message):
    with pytest.raises(ValueError, match=message):
        Index({"a": EYE}, ids=list("xyzv")).joined(other)


def test_arrays_are_no_index(unchecked):
    with pytest.raises(TypeError, match=r"other: got dict, expected an Index; make .* Index\(emb"):
        Index({"a": EYE}).joined({"a": EYE})


def test_a_number_is_no_ids(unchecked):
    with pytest.raises(TypeError, match=r"ids: got 3, expected a string, or several ids: \[3\]"):
        Index({"a": EYE}).without(3)


def test_what_cannot_be_removed():
    index = Index({"a": EYE}, ids=list("xyzw"))
    with pytest.raises(ValueError, match=r"ids: got 'p' \(2 such ids\), which no row of the index"):
        index.without(["x", "q", "p"])
    with pytest.raises(ValueError, match="ids: got those of all 4 rows, expected at least one row"):
        index.without(index.ids)


def test_a_mask_of_the_rows_that_there_were_is_refused():
    index = gallery("xyz").joined(gallery("w"))
    with pytest.raises(ValueError, match=r"where: got bool \(3,\), expected bool \(4,\)"):
        index.search({"a": np.ones((1, DIM))}, 1, where=np.ones(3, bool))


def test_threads_search_the_old_rows_or_the_new_ones():
    old, query = gallery(range(30)), {"q": np.ones((2, DIM))}
    more = gallery(range(30, 50), seed=1)
    new = old.joined(more)
    expected = {len(index): index.search(query, 12) for index in (old, new)}
    assert (expected[30].ids != expected[50].ids).any()
    shared = [old]

    def search(_):
        index = shared[0]
        return len(index), index.search(query, 12)

    with ThreadPoolExecutor(2) as threads:
        found = threads.map(search, range(60))
        for _ in range(30):
            shared[0] = old.joined(more)
            shared[0].forget()
            shared[0] = new.without(more.ids)
            shared[0].forget()
    for size, hits in found:
        np.testing.assert_array_equal(hits.ids, expected[size].ids)
        np.testing.assert_array_equal(hits.scores, expected[size].scores)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))]
)
def test_a_copy_is_on_the_devices_of_its_process(copied):
    index = gallery(range(20), made_by="größer 3", devices=jax.devices()[:1])
    assert_finds_the_same(index, index)
    twin = copied(index)
    assert_same(twin, index)
    assert_finds_the_same(twin, gallery(range(20)))
    (cols,) = twin._factors.values()
    assert cols.valid.devices() == set(jax.devices())

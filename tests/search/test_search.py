"""Search against dense float64 numpy: every Score, gaps, ties, any number of devices, edges."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramalign import Index
from gramalign.scores import SCORE_NAMES
from gramalign.search.index import QUERIES
from gramalign.search.programs import mesh_over, padded
from tests import every_score, reference, samples

NUMBER, DIM = 13, 6
ONE = jax.devices()[:1]  # where it is not about several, which take longer to compile for


def batch(seed=1, number=NUMBER, names="abc"):
    rng = np.random.default_rng(seed)
    return samples.embeddings(rng, number, DIM, names), samples.masks(rng, number, names)


def dense(scores, rows, cols, k):
    """Numbers and scores of the k best, of equal ones the first."""
    scores = np.where(rows[:, None] & cols[None, :], scores, -np.inf)
    numbers = np.argsort(-np.round(scores, 6), axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, numbers, axis=1)
    return np.where(np.isfinite(found), numbers, -1), found


def assert_hits(hits, index, numbers, scores):
    np.testing.assert_array_equal(hits.numbers, numbers)
    np.testing.assert_allclose(hits.scores, scores, atol=2e-5)
    np.testing.assert_array_equal(hits.ids, np.where(numbers < 0, "", index.ids[numbers]))


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_one_modality_against_the_tuple_of_the_others(score):
    embeddings, present = batch()
    for x in embeddings.values():
        x[[10, 11]] = x[[6, 6]]  # ties, on other devices
    for mask in present.values():
        mask[[10, 11]] = mask[[6, 6]]
    ids = [f"row {i}" for i in range(NUMBER)]
    index = Index(
        {m: embeddings[m] for m in "bc"},
        {m: present[m] for m in "bc"},
        ids,
        devices=jax.devices()[:2],
    )
    query, there = {"a": embeddings["a"]}, {"a": present["a"]}
    hits = index.search(query, 6, score=score, present=there)
    scores = every_score.definition(score)(embeddings, present, "a")
    expected = dense(scores, present["a"], present["b"] | present["c"], 6)
    assert_hits(hits, index, *expected)
    assert not present["a"][1] and (hits.numbers[1] == -1).all(), "a query without its modality"


def direction(embeddings, present, names):
    return reference.centroid({m: embeddings[m] for m in names}, present)


@given(st.sampled_from([1, NUMBER]), st.integers(0, 100))
def test_tuples_against_tuples_by_cosine(k, seed):
    embeddings, present = batch(seed, names="abcd")
    index = Index(embeddings, present, devices=ONE)
    query = {m: embeddings[m] for m in "ab"}
    hits = index.search(query, k, present={m: present[m] for m in "ab"})
    scores = direction(embeddings, present, "ab") @ direction(embeddings, present, "cd").T
    rows, cols = present["a"] | present["b"], present["c"] | present["d"]
    assert_hits(hits, index, *dense(scores, rows, cols, k))


def test_one_gallery_for_one_modality_and_for_several():
    """Its factors are others, whichever was asked first."""
    embeddings, present = batch(names="abcd")
    index = Index(embeddings, present, devices=ONE)
    queries = [{m: embeddings[m][:4] for m in names} for names in ("a", "ab")]

    def found(index, query):
        return index.search(query, 5, score="simplex", gallery=["c", "d"])

    for query in (*queries, *queries[::-1]):
        fresh = found(Index(embeddings, present, devices=ONE), query)
        np.testing.assert_array_equal(found(index, query).numbers, fresh.numbers)


@pytest.mark.parametrize("score", ["cosine", "volume"])
def test_among_some_rows(score):
    """As in an index of these rows alone, but for their numbers."""
    embeddings, present = batch(number=40)
    some = np.arange(40) % 3 == 1
    query = {"a": embeddings["a"][:4]}
    few = Index(*({m: x[some] for m, x in tree.items()} for tree in (embeddings, present)))
    few = few.search(query, 10, score=score)
    index = Index(embeddings, present, devices=jax.devices()[:2])
    hits = index.search(query, 10, score=score, where=some)
    np.testing.assert_array_equal(hits.numbers, np.flatnonzero(some)[few.numbers])
    np.testing.assert_allclose(hits.scores, few.scores, atol=1e-6)
    assert (index.search(query, 10, score=score, where=~some).numbers % 3 != 1).all()
    nothing = index.search(query, 2, score=score, where=np.zeros(40, bool))
    assert (nothing.numbers == -1).all() and (nothing.ids == "").all()


def test_tuples_against_tuples_by_volume():
    embeddings, _ = batch(names="abcd")
    index = Index(embeddings, devices=ONE)
    query = {m: embeddings[m][:3] for m in "ab"}
    left, right = (np.stack([embeddings[m] for m in side], axis=1) for side in ("ab", "cd"))
    joint = np.concatenate(
        [
            np.broadcast_to(left[:3, None], (3, NUMBER, 2, DIM)),
            np.broadcast_to(right[None], (3, NUMBER, 2, DIM)),
        ],
        axis=2,
    )
    everyone = np.ones(NUMBER, bool)
    expected = dense(-reference.volume(joint), everyone[:3], everyone, 4)
    assert_hits(index.search(query, 4, score="volume"), index, *expected)


@pytest.mark.parametrize(
    ("query", "gallery", "searched"),
    [
        ("a", None, "bc"),
        ("abc", None, "abc"),
        ("z", None, "abc"),
        ("a", "b", "b"),
        ("a", ["c", "b"], "bc"),
        ("a", ["a"], "a"),
    ],
)
def test_what_is_searched(query, gallery, searched):
    embeddings, present = batch()
    index = Index(embeddings, present, devices=ONE)
    asked = {m: embeddings["a" if m == "z" else m][3:4] for m in query}
    there = {m: present["a" if m == "z" else m][3:4] for m in query}
    names = ["a" if m == "z" else m for m in query]
    scores = direction(embeddings, present, names)[3:4] @ direction(embeddings, present, searched).T
    cols = np.any([present[m] for m in searched], axis=0)
    rows = np.any(list(there.values()), axis=0)
    hits = index.search(asked, NUMBER, gallery=gallery, present=there)
    assert_hits(hits, index, *dense(scores, rows, cols, NUMBER))


def test_any_number_of_devices_finds_the_same():
    """Duplicates of a row lie on other devices, and tie; two devices find so under every Score."""
    embeddings, present = batch(number=301)
    for tree in (*embeddings.values(), *present.values()):
        tree[200:] = tree[:101]
    query, there = {"a": embeddings["a"][:5]}, present["a"][:5]
    one, two, eight = (
        Index(embeddings, present, devices=jax.devices()[:n]).search(
            query, 40, present={"a": there}
        )
        for n in (1, 2, 8)
    )
    cols = present["b"] | present["c"]
    scores = reference.cosine_scores(embeddings, present, "a")[:5]
    for hits in (one, two, eight):
        np.testing.assert_array_equal(hits.numbers, dense(scores, there, cols, 40)[0])
    for hits in (two, eight):
        np.testing.assert_allclose(hits.scores, one.scores, atol=1e-6)


@pytest.mark.parametrize("number", [1, 2, 5, QUERIES[-1] + 1])
def test_any_number_of_queries(number):
    rng = np.random.default_rng(0)
    gallery, asked = samples.unit(rng, 9, 4), samples.unit(rng, number, 4)
    hits = Index({"b": gallery}, devices=ONE).search({"a": asked}, 2)
    assert len(hits) == number
    expected = dense(asked @ gallery.T, np.ones(number, bool), np.ones(9, bool), 2)
    np.testing.assert_array_equal(hits.numbers, expected[0])


def test_a_gallery_of_one_and_of_copies(unchecked):
    one = Index({"a": np.eye(3)[:1], "b": np.eye(3)[1:2]}, ids=["only"])
    hits = one.search({"a": np.eye(3)[:2]}, np.int64(1))
    assert hits.ids.tolist() == [["only"], ["only"]] and hits.scores.tolist() == [[0], [1]]
    copies = Index({"b": np.ones((20, 3))})
    np.testing.assert_array_equal(copies.search({"a": np.eye(3)}, 20).numbers, [range(20)] * 3)


def test_rows_of_zeros_are_absent():
    """A volume of 0 would be the best there is."""
    gallery = np.eye(4)
    gallery[1] = 0
    index = Index({"b": gallery})
    assert index.present["b"].tolist() == [True, False, True, True]
    hits = index.search({"a": np.eye(4)[:2] * [[1], [0]]}, 4, score="volume")
    assert hits.numbers.tolist() == [[0, 2, 3, -1], [-1] * 4]
    assert hits.ids[0].tolist() == ["0", "2", "3", ""] and np.isneginf(hits.scores[1]).all()


def test_rows_may_have_any_length_and_absent_ones_hold_anything():
    rng = np.random.default_rng(0)
    gallery, asked = rng.normal(size=(7, 4)), rng.normal(size=(3, 4)).astype(np.float16)
    gallery[2] = np.nan
    there = np.arange(7) != 2
    hits = Index({"b": gallery * 1e20}, {"b": there}).search({"a": asked}, 7)
    scores = samples.normalized(asked.astype(float)) @ samples.normalized(gallery).T
    np.testing.assert_array_equal(hits.numbers, dense(scores, np.ones(3, bool), there, 7)[0])


def test_parts_are_whole_tiles_of_the_same_size():
    for number, devices, tile, size in [(1, 8, 1024, 64), (3000, 1, 1024, 3072), (17, 2, 8, 32)]:
        assert padded(number, mesh_over(jax.devices()[:devices]), tile) == size


@pytest.mark.parametrize("devices", [1, 2])
def test_a_growing_gallery_has_few_sizes(devices):
    numbers = np.arange(1, 200_001, 9)
    mesh = mesh_over(jax.devices()[:devices])
    sizes = np.array([padded(int(number), mesh, 1024) for number in numbers])
    whole = -(-numbers // (devices * 1024)) * devices * 1024
    large = numbers > devices * 1024
    assert (sizes >= numbers).all() and (sizes[large] % (devices * 1024) == 0).all()
    assert (sizes[large] <= whole[large] * 17 / 16).all()
    assert len(set(sizes[numbers > 100_000])) <= 17


EYE = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "embeddings: got none"),
        (({"a": EYE[:0]},), r"embeddings: got shape \(0, 4\), expected at least one row"),
        (({"a": EYE, "b": EYE[:2]},), "different numbers of examples"),
        (({"a": EYE, "b": EYE[:, :2]},), "different dims.*project"),
        (({"a": np.full((4, 4), np.inf)},), "'a'.: row 0 holds NaN or Inf"),
        (({"a": EYE}, {"b": np.ones(4, bool)}), "mask for b, but the modalities are a"),
        (({"a": EYE}, {"a": np.ones(3, bool)}), r"present\['a'\]"),
        (({"a": EYE}, None, ["y", "x", "a", "x"]), "rows 1 and 3 are both 'x'.*unique"),
        (({"a": EYE}, None, ["x", "y"]), r"ids: got <U1 \(2,\), expected .*\(4,\)"),
        (({"a": EYE}, None, ["x", "", "y", "z"]), "ids: row 1 has an empty id"),
        (({"a": EYE}, None, np.arange(4) / 2), "ids: got float64"),
        (({"a": EYE}, None, ["x", "y\0", "z", "w"]), r"ids: got 'y\\x00', whose last NUL"),
        (({"a": EYE}, None, np.array(["x", "y\0", "z", "w"], object)), "whose last NUL"),
        (({"a": EYE}, None, ["x", "y\udcff", "z", "w"]), r"ids: got 'y\\udcff', which is no UTF-8"),
        (
            ({"a": EYE}, None, ["x", "y", "z" * 1001, "w"]),
            "row 2 has 1001 characters.* most 1000",
        ),
    ],
)
def test_what_makes_no_index(arguments, message):
    with pytest.raises(ValueError, match=message):
        Index(*arguments)


def test_an_index_needs_a_device():
    with pytest.raises(ValueError, match="devices: got none, expected at least one"):
        Index({"a": EYE}, devices=[])


def test_ids_stay_the_callers():
    for ids in (np.array(["x", "y", "z", "w"]), np.array(["x", "y", "z", "w"], object)):
        index = Index({"a": EYE}, ids=ids)
        ids[0] = "v"
        assert index.ids.tolist() == ["x", "y", "z", "w"]


def test_arrays_without_names_are_no_embeddings(unchecked):
    with pytest.raises(TypeError, match="embeddings: got 3 for a modality, expected its name"):
        Index({3: EYE})
    with pytest.raises(TypeError, match="embeddings: got ndarray, expected one array"):
        Index(EYE)
    with pytest.raises(TypeError, match="query: got ndarray, expected one array"):
        Index({"a": EYE}).search(EYE, 1)


@pytest.mark.parametrize("ids", [[7, -1, 0, 30], np.array([7, 1, 0, 30], np.uint8)])
def test_ids_that_are_numbers(ids):
    assert Index({"a": EYE}, ids=ids).ids.tolist() == [str(number) for number in ids]


def test_ids_as_a_column_of_pandas_has_them():
    ids = np.array(["x", "longer", "y", "z"], dtype=object)
    assert Index({"a": EYE}, ids=ids).ids.tolist() == ids.tolist()
    with pytest.raises(ValueError, match=r"ids: got object \(4,\).*convert other types to text"):
        Index({"a": EYE}, ids=np.array(["x", 1, None, "z"], dtype=object))


@pytest.mark.parametrize(
    ("query", "k", "options", "message"),
    [
        ({"a": EYE}, 5, {}, "k: got 5, expected a whole number from 1 to 4, the number of rows"),
        ({"a": EYE}, 2.5, {}, "k: got 2.5, expected a whole number from 1 to 4"),
        ({"a": EYE}, 0, {}, "k: got 0"),
        ({"a": EYE[:, :3]}, 1, {}, "query: got dim 3, expected that of the index, 4"),
        ({"a": EYE[:0]}, 1, {}, r"query: got shape \(0, 4\)"),
        ({}, 1, {}, "query: got none"),
        ({"a": np.full((1, 4), np.nan, np.float32)}, 1, {}, r"query\['a'\]: row 0 holds NaN"),
        ({"a": EYE}, 1, {"score": "direction"}, "score: got 'direction', expected one of cosine"),
        ({"a": EYE}, 1, {"gallery": ["c"]}, "gallery: got c, expected some of a, b"),
        ({"a": EYE}, 1, {"gallery": []}, "gallery: got no modality"),
        (
            {"a": EYE},
            1,
            {"where": [True]},
            r"where: got bool \(1,\), expected bool \(4,\), True for",
        ),
        ({"a": EYE}, 1, {"where": np.arange(4)}, r"where: got int64 \(4,\), expected bool"),
        ({"a": EYE}, 1, {"present": {"b": np.ones(4, bool)}}, "mask for b"),
    ],
)
def test_what_cannot_be_searched(query, k, options, message, unchecked, monkeypatch):
    monkeypatch.setattr("gramalign.search.index.columns", None)  # refused before any computation
    with pytest.raises(ValueError, match=message):
        Index({"a": EYE, "b": EYE}).search(query, k, **options)

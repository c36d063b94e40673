import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.evaluation import (
    FUSED,
    bootstrap_interval,
    checked,
    evaluate,
    rerank,
    retrieve_both_ways,
    unit_values,
)


def two(examples=4, dim=3):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(examples, dim)).astype(np.float32) for name in ("text", "audio")}


def test_rows_become_unit_whatever_their_size():
    embeddings = two()
    embeddings["text"] *= np.array([[1e-30], [1e30], [1], [0]], np.float32)
    data = checked(embeddings)
    np.testing.assert_allclose(
        np.linalg.norm(data.embeddings["text"], axis=1), [1, 1, 1, 0], rtol=1e-6
    )
    assert data.embeddings["text"].dtype == np.float32


def test_rows_that_float32_does_not_hold():
    embeddings = {name: x.astype(np.float64) for name, x in two().items()}
    expected = checked(embeddings).embeddings["text"]
    embeddings["text"] *= np.array([[1e-200], [1e200], [1e300], [1]])
    np.testing.assert_allclose(checked(embeddings).embeddings["text"], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float16, jnp.float32, jnp.bfloat16])
def test_host_and_device_arrays_of_any_float_are_taken(kind):
    array = np.asarray if kind in (np.float64, np.float16) else jnp.asarray
    given = {name: array(x, dtype=kind) for name, x in two().items()}
    data = checked(given, {"text": jnp.ones(4, bool)}, jnp.arange(4))
    for name, expected in checked(two()).embeddings.items():
        assert data.embeddings[name].dtype == np.float32
        np.testing.assert_allclose(data.embeddings[name], expected, atol=1e-2)


def test_absent_rows_may_hold_anything_and_come_out_as_zeros():
    embeddings = two()
    embeddings["audio"][2] = np.nan
    data = checked(embeddings, {"audio": np.arange(4) != 2})
    assert not data.embeddings["audio"][2].any()
    assert data.present["text"].all()


def test_a_fusion_is_there_where_any_of_what_it_is_made_of_is():
    ones = {name: np.ones((3, 2), np.float32) for name in ("text", "audio", "video")}
    masks = {"audio": np.array([True, True, False]), "video": np.array([True, False, False])}
    fused = checked(ones, masks, fused={"text": ones["text"]}).fused["text"]
    assert fused.any(axis=1).tolist() == [True, True, False]


def test_groups_may_be_of_any_type():
    groups = checked(two(), groups=np.array(["cat", "dog", "cat", "ant"])).groups
    assert groups is not None
    assert groups.tolist() == [1, 2, 1, 0]
    assert groups.dtype == np.int32


def test_arrays_without_names_are_no_embeddings(unchecked):
    arrays = list(two().values())
    for call in (evaluate, checked):
        with pytest.raises(TypeError, match="embeddings: got list, expected one array"):
            call(arrays)
    with pytest.raises(TypeError, match="fused: got list, expected one array"):
        checked(two(), fused=arrays)
    with pytest.raises(TypeError, match="baseline_embeddings: got list, expected one array"):
        evaluate(two(), baseline_embeddings=arrays)


def bad_row(value):
    embeddings = two()
    embeddings["audio"][2, 1] = value
    return embeddings


@pytest.mark.parametrize(
    ("embeddings", "options", "message"),
    [
        ({"text": np.ones((4, 3), np.float32)}, {}, r"1 modality \(text\).*at least 2.*embed"),
        ({}, {}, r"0 modalities \(none\)"),
        (two(1), {}, r"got 1 example.*at least 2.*more rows"),
        (two() | {"audio": np.ones((5, 3), np.float32)}, {}, r"text \(4, 3\), audio \(5, 3\).*row"),
        (two() | {"audio": np.ones((4, 2), np.float32)}, {}, r"dims: text \(4, 3\).*project"),
        (bad_row(np.nan), {}, r"'audio'\]: row 2 holds NaN.*find the layer.*`present`"),
        (bad_row(np.inf), {}, r"'audio'\]: row 2 holds NaN or Inf"),
        (two() | {"audio": two()["audio"].astype(object)}, {}, r"'audio'\]: got an array of obj"),
        (two(), {"present": {"smell": np.ones(4, bool)}}, r"mask for smell.*are text, audio"),
        (two(), {"present": {"text": np.ones(5, bool)}}, r"'text'\]: got bool \(5,\).*\(4,\)"),
        (two(), {"groups": np.arange(3)}, r"groups: got shape \(3,\), expected \(4,\)"),
        (
            two(),
            {"baseline_embeddings": two(5)},
            r"baseline_embeddings: got 5.*expected 4.*same rows",
        ),
        (
            two(),
            {"baseline_embeddings": {"text": two()["text"], "smell": two()["text"]}},
            r"of text, smell, expected 4 of text, audio",
        ),
    ],
)
def test_bad_input_is_refused_with_its_cure(embeddings, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        evaluate(embeddings, **options, score="cosine")


def three_with_a_zero():
    """Four examples, the third without a direction in text."""
    embeddings = two() | {"video": two()["text"][::-1]}
    embeddings["text"][2] = 0
    return embeddings


def test_a_row_of_zeros_is_found_by_nobody_and_finds_nothing():
    zero, marked = three_with_a_zero(), {"text": np.arange(4) != 2}
    data = checked(zero)
    assert data.present["text"].tolist() == marked["text"].tolist() and data.zeros == {"text": 1}
    assert checked(zero, marked).zeros == {}
    baseline = {name: np.roll(x, 1, axis=0) for name, x in two().items()} | {"video": two()["text"]}
    options = {"score": "volume", "baseline_embeddings": baseline, "neighbours": False}
    found, expected = evaluate(zero, **options), evaluate(zero, marked, **options)
    for one, other in zip(found.retrieval, expected.retrieval, strict=True):
        wanted = other.ranks.copy()
        if ("text",) in (one.query, one.gallery):  # a miss, behind all that is in the gallery
            wanted[2] = 1 + (3 if one.gallery == ("text",) else 4)
        np.testing.assert_array_equal(one.ranks, wanted)
        again = rerank(data, one, "cosine", top=10)
        assert again.queries == one.queries and again.ranks[2] >= one.ranks[2]
    assert [x.queries for x in found.baseline] == [4] * len(found.baseline)
    (said,) = (x for x in found.diagnostics.warnings if x.kind == "zero")
    assert said.figures == {"text": 1} and "text 1. Find the input" in said.sentence
    assert "zero" not in {x.kind for x in expected.diagnostics.warnings}


def test_a_fusion_of_zeros_is_absent_and_counted():
    fused = two()["text"]
    fused[1] = 0
    data = checked(two() | {"video": two()["text"]}, fused={"text": fused})
    assert data.zeros == {"all but text": 1}
    found, _ = retrieve_both_ways(data, ["text"], ["audio", "video"], FUSED)
    assert found.ranks is not None and found.ranks[1] == 0 and found.queries == 3


@pytest.mark.parametrize(
    "labels",
    [
        [1.0, np.nan, np.nan, 2.0],
        ["a", np.nan, np.nan, "b"],
        np.array(["a", None, None, "b"], object),
        np.array(["2020", "NaT", "NaT", "2021"], "datetime64[Y]"),
    ],
)
@pytest.mark.parametrize("argument", ["groups", "labels"])
def test_rows_without_a_label_are_not_of_one(labels, argument, unchecked):
    message = rf"{argument}: row 1 has \w+ \(2 such rows\).*one of its own"
    with pytest.raises(ValueError, match=message):
        evaluate(two(), **{argument: labels})
    with pytest.raises(ValueError, match="groups: row 1"):
        unit_values(np.ones((1, 4)), labels)
    with pytest.raises(ValueError, match="groups: row 1"):
        bootstrap_interval(np.ones(4), groups=labels)


def test_what_is_not_even_itself_is_no_label():
    class Unknown:
        def __ne__(self, other):
            raise TypeError("neither true nor false")

    with pytest.raises(ValueError, match="groups: row 0"):
        checked(two(), groups=np.array([Unknown(), "a", "b", "c"], object))

"""Damage is what it is said to be, and curves are the figures of retrieval under it."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramalign.evaluation import (
    Robustness,
    checked,
    devices,
    retrieval_figures,
    retrieve_both_ways,
    robustness,
    robustness_tables,
    to_text,
)
from gramalign.evaluation.perturbations import (
    PRECISIONS,
    add_noise,
    drop_dimensions,
    lose_modalities,
    store_as,
)
from gramalign.evaluation.robustness import CURVES, LEVELS
from tests import samples

NAMES = ("text", "audio", "video")
EXAMPLES, DIM = 32, 16


def some():
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, EXAMPLES, DIM, NAMES)
    return checked(embeddings, {"audio": rng.random(EXAMPLES) > 0.2}, np.arange(EXAMPLES) // 2)


@given(seed=st.integers(0, 1000), rates=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_lost_modalities(seed, rates):
    present = samples.masks(np.random.default_rng(seed), 50)
    low, high = sorted(rates)
    some_left, fewer = (
        lose_modalities(present, rate, np.random.default_rng(seed)) for rate in (low, high)
    )
    for name, mask in present.items():
        assert not (some_left[name] & ~mask).any() and not (fewer[name] & ~some_left[name]).any()
    had = np.any(list(present.values()), axis=0)
    np.testing.assert_array_equal(np.any(list(fewer.values()), axis=0), had)
    if low == 0:
        assert all((some_left[name] == present[name]).all() for name in present)


def test_rate_of_what_is_lost():
    present = {name: np.ones(20_000, bool) for name in "abcd"}
    kept = lose_modalities(present, 0.3, np.random.default_rng(0))
    # All four would go in 0.3^4 of the rows, of which each keeps one.
    assert np.mean(list(kept.values())) == pytest.approx(0.7 + 0.3**4 / 4, abs=0.005)
    one = lose_modalities(present, 1.0, np.random.default_rng(0))
    assert (np.sum(list(one.values()), axis=0) == 1).all()


def test_noise_is_in_units_of_each_feature():
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(5000, 3)) * [1, 10, 0] + 5 for name in "ab"}
    present = {"a": np.arange(5000) > 0, "b": np.ones(5000, bool)}
    features["a"][0] = np.nan  # of an absent row
    noisy = add_noise(features, present, ("a",), 0.5, np.random.default_rng(1))
    added = (noisy["a"] - features["a"])[1:]
    np.testing.assert_allclose(added.std(axis=0), [0.5, 5, 0], rtol=0.05, atol=1e-6)
    np.testing.assert_array_equal(noisy["b"], features["b"].astype(np.float32))
    draws = [
        add_noise(features, present, x, 0.5, np.random.default_rng(1)) for x in (("b",), ("a", "b"))
    ]
    np.testing.assert_array_equal(*(x["b"] for x in draws))


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_dropped_dimensions_are_the_same_in_all(seed, share):
    data = some()
    left = drop_dimensions(data, share, np.random.default_rng(seed))
    zero = [~np.any(rows, axis=0) for rows in left.embeddings.values()]
    assert (zero[0] == zero[1]).all() and (zero[0] == zero[2]).all()
    assert zero[0].sum() == min(round(share * DIM), DIM - 1)
    kept = ~zero[0]
    expected = samples.normalized(data.embeddings["text"][:, kept].astype(np.float64))
    np.testing.assert_allclose(left.embeddings["text"][:, kept], expected, atol=1e-6)


def test_rows_of_which_nothing_is_left_are_misses():
    data = checked({name: np.eye(40) for name in ("text", "audio")})
    left = drop_dimensions(data, 0.75, np.random.default_rng(0))
    found, _ = retrieve_both_ways(left, ["text"], ["audio"], "cosine")
    assert (found.queries, found.recall[1]) == (40, 25)


def test_precisions():
    data = some()
    text = data.embeddings["text"]
    found = {name: store_as(data, name).embeddings for name in PRECISIONS}
    np.testing.assert_array_equal(np.sign(found["sign"]["text"]), np.where(text >= 0, 1, -1))
    # Off by half a unit in the last place at most, before rows are of unit length again.
    bounds = {"float32": 1e-6, "float16": 2**-11, "bfloat16": 2**-8, "int8": 0.5 / 127 + 1e-6}
    for name, bound in bounds.items():
        error = np.abs(found[name]["text"] - text).max()
        assert error < 2.5 * bound and (error > 1e-6) == (name != "float32"), name
    assert found["bfloat16"]["text"].dtype == np.float32
    assert jnp.dtype("bfloat16").itemsize * 8 == PRECISIONS["bfloat16"][0]
    for rows in found.values():  # the absent stay absent
        assert not rows["audio"][~data.present["audio"]].any()


def embed_of(data):
    """A linear embedding, and features of which it makes just these embeddings."""
    turn = samples.orthonormal(np.random.default_rng(5), DIM, DIM).astype(np.float32)
    features = {name: rows @ turn.T for name, rows in data.embeddings.items()}
    return features, lambda features, present: {m: x @ turn for m, x in features.items()}


@pytest.fixture(scope="module")
def measured():
    data = some()
    features, embed = embed_of(data)
    seen = []
    before = devices._on_device._cache_size()
    found = robustness(
        data,
        "volume",
        curves=CURVES,
        repeats=2,
        features=features,
        embed=embed,
        report=lambda done, total: seen.append((done, total)),
    )
    return found, seen, devices._on_device._cache_size() - before


def test_curves_begin_where_nothing_has_happened(measured):
    found, seen, compiled = measured
    assert [(curve.kind, curve.modalities) for curve in found.curves] == [
        ("missing", NAMES),
        ("noise", NAMES),
        *(("noise", (name,)) for name in NAMES),
        ("dimensions", NAMES),
        ("precision", NAMES),
    ]
    assert seen == [(n + 1, len(seen)) for n in range(len(seen))]
    assert compiled <= 4  # pairs and tuples, under two Scores: all points are one program
    data = some()
    for score in ("cosine", "volume"):
        results = retrieval_figures(data, score)
        pairs = [r for r in results if len(r.query) == len(r.gallery) == 1]
        rests = [r for r in results if len(r.query) == 2]
        for curve in found.curves:
            figures = curve.points[0].figures
            for name, chosen in (("pair", pairs), ("rest -> one", rests)):
                recall = np.mean([r.recall[1] for r in chosen])
                assert figures[f"{name} R@1, {score}"].mean == pytest.approx(recall)
                rank = np.mean([r.mean_reciprocal_rank for r in chosen])
                assert figures[f"{name} MRR, {score}"].mean == pytest.approx(rank)
    share = 1 - np.mean(list(data.present.values()))
    assert found.curves[0].points[0].missing == pytest.approx(share)


def test_curves_fall_and_tell_their_range(measured):
    found, _, _ = measured
    missing, noise = found.curves[:2]
    assert [point.level for point in missing.points] == list(LEVELS["missing"].values())
    lost = [point.missing for point in missing.points]
    assert lost == sorted(lost) and lost[-1] <= 2 / 3 + 1e-9
    name = "rest -> one MRR, cosine"
    first, last = noise.points[0].figures[name], noise.points[-1].figures[name]
    assert last.mean < first.mean and first.least == first.largest
    assert last.least < last.mean < last.largest
    chance = [point.figures["pair chance R@1"].mean for point in missing.points]
    assert chance[-1] > chance[0]  # smaller galleries


def test_record_and_table(measured):
    found, _, _ = measured
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Robustness.from_json(record) == found
    text = to_text(robustness_tables(found))
    assert max(map(len, text.splitlines())) <= 100
    kept = [point.missing for point in found.curves[0].points]
    assert f"{100 * kept[-1]:.1f}" in text and kept[-1] < 0.9  # a row keeps one
    for words in ("Modalities lost", "Noise on audio", "Dimensions dropped", "bfloat16"):
        assert words in text
    assert f"range over {found.repeats} repetitions" in text
    assert "range over" not in to_text(robustness_tables(dataclasses.replace(found, repeats=1)))


def test_the_same_seed_gives_the_same_curve(measured):
    found, _, _ = measured
    again = robustness(some(), "volume", curves=["missing"], repeats=2)
    assert again.curves[0] == found.curves[0]
    other = robustness(some(), "volume", curves=["missing"], repeats=2, seed=9)
    assert other.curves[0] != found.curves[0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"score": "fused"}, "score: got 'fused'"),
        ({"curves": ["rust"]}, "curves: got rust, expected some of missing, noise"),
        ({"curves": []}, "curves: got none"),
        ({"curves": ["missing", "missing"]}, "each once"),
        ({"repeats": 0}, "repeats: got 0"),
        ({"seed": -1}, "seed: got -1, expected at least 0"),
        ({"curves": ["noise"]}, "give `features` and `embed`"),
        (
            {"curves": ["noise"], "features": {"text": np.ones((3, 2))}, "embed": lambda x, y: x},
            r"features\['text'\]: got shape \(3, 2\), expected \[32, width\]",
        ),
    ],
)
def test_what_cannot_be_measured(options, what):
    with pytest.raises(ValueError, match=what):
        robustness(some(), **{"score": "volume", **options})

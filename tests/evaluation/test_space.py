"""Figures of the space against float64 numpy and scipy."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gramalign.evaluation import Diagnostics, checked, diagnose
from gramalign.evaluation.hubness import hubness
from gramalign.evaluation.modality_figures import effective_rank
from gramalign.evaluation.tuple_figures import BINS, COINCIDENT
from tests import samples

NAMES = ("text", "audio", "video")


def some(seed=0, examples=32):
    embeddings = samples.embeddings(np.random.default_rng(seed), examples, 16, NAMES)
    rng = np.random.default_rng(seed + 1)
    return embeddings, {name: rng.random(examples) > 0.15 for name in NAMES}


def volumes_of(tuples):
    return np.array([np.linalg.svd(each, compute_uv=False).prod() for each in tuples])


def test_equals_float64_numpy():
    embeddings, present = some()
    # Two others alike, in some tuples: any anchor fits.
    embeddings["video"][:4] = embeddings["audio"][:4]
    measured = diagnose(checked(embeddings, present))
    complete = np.random.default_rng(0).permutation(np.flatnonzero(np.all([*present.values()], 0)))
    assert 3 < len(complete) < 32
    tuples = np.stack([embeddings[m][complete].astype(np.float64) for m in NAMES], axis=1)
    matched = volumes_of(tuples)
    mixed = []
    for i in range(3):
        mixed.append(tuples.copy())
        mixed[i][:, i] = np.roll(tuples[:, i], 1, axis=0)
    mismatched = volumes_of(np.concatenate(mixed))
    figure = measured.volume
    for values, counts in (
        (matched, figure.matched_histogram),
        (mismatched, figure.mismatched_histogram),
    ):
        # Volumes of 0 are rounded ones.
        expected = np.histogram(np.clip(values, 1e-6, 1), BINS, (0, 1))[0]
        assert counts == tuple(expected.tolist())
    # Which of two volumes of 0 is the smaller, rounding decides.
    flat, other = (np.maximum(values, 1e-3) for values in (matched, mismatched))
    least, most = (
        np.mean(compared(flat[:, None], other[None, :])) for compared in (np.less, np.less_equal)
    )
    assert 0.001 < most - least < 0.05
    assert least - 1e-6 <= figure.separation <= most + 1e-6
    assert 0.5 < figure.separation < 1

    for i, anchor in enumerate(NAMES):
        others = np.delete(tuples, i, axis=1)
        bound = volumes_of(others)
        assert measured.coincident[anchor] == pytest.approx(np.mean(bound < COINCIDENT))
        assert measured.overriding[anchor] == pytest.approx(np.mean(bound < np.median(matched)))
        least = [
            volumes_of(np.concatenate([np.broadcast_to(a, (len(others), 1, 16)), others], 1)).min()
            for a in tuples[:, i]
        ]
        assert measured.gram_value[anchor] == pytest.approx(np.mean(least), abs=2e-3)
        assert measured.gram_value[anchor] < matched.mean()
    assert measured.coincident["text"] > 0 and measured.overriding["text"] > 0

    for name in NAMES:
        values = np.linalg.svd(embeddings[name][present[name]].astype(np.float64))[1]
        shares = values / values.sum()
        expected = np.exp(stats.entropy(shares))
        assert measured.effective_rank[name] == pytest.approx(expected, rel=1e-5)

    for item in measured.hubness:
        cosines = embeddings[item.query][present[item.query]] @ embeddings[item.gallery].T
        cosines = np.where(present[item.gallery], cosines, -np.inf)
        near = np.argsort(-cosines, axis=1)[:, :10]
        counts = np.bincount(near.ravel(), minlength=32)[present[item.gallery]]
        assert item.largest == counts.max()
        assert item.skewness == pytest.approx(stats.skew(counts), rel=1e-6)
    assert len(measured.hubness) == 6

    for pair in measured.pairs:
        both = present[pair.first] & present[pair.second]
        cosine = np.sum(embeddings[pair.first][both] * embeddings[pair.second][both], axis=1)
        assert pair.negative == pytest.approx(np.mean(cosine < 0))


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_a_rotation_changes_nothing(seed):
    embeddings, present = some(seed)
    turn = samples.orthonormal(np.random.default_rng(seed), 16, 16)
    turned = {name: (x @ turn).astype(np.float32) for name, x in embeddings.items()}
    before, after = (diagnose(checked(x, present)) for x in (embeddings, turned))
    assert after.effective_rank == pytest.approx(before.effective_rank, rel=1e-4)
    assert after.gram_value == pytest.approx(before.gram_value, abs=2e-3)
    assert after.volume.matched == pytest.approx(before.volume.matched, rel=1e-4)
    assert after.volume.separation == pytest.approx(before.volume.separation, abs=2e-3)
    for one, other in zip(before.hubness, after.hubness, strict=True):
        assert other.skewness == pytest.approx(one.skewness, abs=0.02)
        assert other.largest == one.largest


def test_effective_rank_of_known_spectra():
    rng = np.random.default_rng(0)
    assert effective_rank(samples.orthonormal(rng, 5, 9)) == pytest.approx(5)
    assert effective_rank(samples.orthonormal(rng, 5, 9).T) == pytest.approx(5)
    assert effective_rank(np.outer([1, -1, 1, 2], [3.0, 4.0])) == pytest.approx(1, abs=1e-6)
    two = np.diag([3.0, 1.0])
    assert effective_rank(two) == pytest.approx(np.exp(stats.entropy([0.75, 0.25])))
    # More rows than are taken at once.
    many = rng.normal(size=(8192 * 2 + 5, 3)).astype(np.float32)
    values = np.linalg.svd(many.astype(np.float64), compute_uv=False)
    expected = np.exp(stats.entropy(values / values.sum()))
    assert effective_rank(many) == pytest.approx(expected)
    assert np.isnan(effective_rank(np.zeros((3, 2)))) and np.isnan(effective_rank(np.zeros((0, 2))))


def test_separation_of_spaces_that_tell_nothing_is_a_half():
    same = checked(dict.fromkeys("ab", np.ones((8, 16), np.float32)))
    assert diagnose(same, neighbours=False).volume.separation == 0.5
    eye = np.eye(8, 16, dtype=np.float32)
    apart = diagnose(checked({"a": eye, "b": eye}), neighbours=False)
    assert (apart.volume.separation, apart.leading_share.separation) == (1, 1)
    # Every query finds its match: the GRAM value is the mean volume.
    assert apart.gram_value == {"a": 0, "b": 0}
    assert apart.hubness == () and apart.coincident == {}


def test_a_gallery_of_ten_has_no_hubs_to_tell():
    embeddings, _ = some(examples=11)
    ten = np.arange(11) > 0
    found = hubness(checked(embeddings, {"text": ten}))
    skewness = {(item.query, item.gallery): item.skewness for item in found}
    assert np.isnan(skewness["audio", "text"]) and np.isfinite(skewness["text", "audio"])


def test_one_hub():
    rng = np.random.default_rng(0)
    hub = samples.unit(rng, 16)
    gallery = samples.unit(rng, 60, 16)
    gallery[7] = hub
    queries = samples.normalized(hub + 0.3 * samples.unit(rng, 60, 16))
    found = hubness(checked({"a": queries, "b": gallery}))
    assert (found[0].query, found[0].gallery, found[0].largest) == ("a", "b", 60)
    assert found[0].skewness > 1


def test_json_round_trip_and_earlier_records():
    embeddings, present = some()
    measured = diagnose(checked(embeddings, present))
    record = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert Diagnostics.from_json(record) == measured
    earlier = {name: record[name] for name in ("complete", "uniformity")}
    for name in ("volume", "leading_share"):
        earlier[name] = {key: record[name][key] for key in ("matched", "mismatched")}
    kept = ("first", "second", "examples", "gap", "alignment")
    earlier["pairs"] = [{key: pair[key] for key in kept} for pair in record["pairs"]]
    found = Diagnostics.from_json(earlier)
    assert found.volume.matched == measured.volume.matched
    assert found.hubness == () and found.gram_value == {} and np.isnan(found.volume.separation)


def test_without_a_complete_tuple():
    embeddings, _ = some()
    first = np.arange(32) < 1
    found = diagnose(checked(embeddings, {"text": first, "audio": ~first}))
    figures = [*found.gram_value.values(), *found.coincident.values(), found.volume.separation]
    assert found.complete == 0 and np.isnan(figures).all()
    assert found.volume.matched_histogram == ()
    assert np.isnan([found.volume.matched, found.leading_share.mismatched]).all()
    assert math.isnan(found.uniformity["text"])
    assert math.isnan(found.effective_rank["text"])  # one row is a line whatever it is
    assert not [item for item in found.warnings if "text" in item.sentence]
    apart = next(pair for pair in found.pairs if pair.examples == 0)
    assert np.isnan([apart.negative, apart.gap]).all()
    json.dumps(found.to_json(), allow_nan=False)
    # One group: there is no mismatched tuple.
    one = diagnose(checked(embeddings, groups=np.zeros(32, int)), neighbours=False)
    assert np.isnan(one.volume.mismatched)


def test_where_all_are_near_equally_often_nothing_is_a_hub():
    """Points of a circle, and queries between them, each nearest to the five on either side."""
    turns = 2 * np.pi * (np.arange(20) + np.array([[0.0], [0.5]])) / 20
    points, between = np.stack([np.cos(turns), np.sin(turns)], axis=2).astype(np.float32)
    for item in hubness(checked({"points": points, "between": between})):
        assert (item.skewness, item.largest) == (0, 10)

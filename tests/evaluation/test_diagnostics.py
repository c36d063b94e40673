import itertools

import numpy as np
import pytest

from gramalign.evaluation import checked, diagnose
from tests import samples

NAMES = ("text", "audio", "video")


def test_equals_float64_numpy_with_gaps_and_groups():
    embeddings = samples.embeddings(np.random.default_rng(0), 32, 16, NAMES)
    rng = np.random.default_rng(1)
    present = {name: rng.random(32) > 0.2 for name in embeddings}
    groups = np.arange(32) // 8
    measured = diagnose(checked(embeddings, present, groups))
    units = {name: samples.normalized(x.astype(np.float64)) for name, x in embeddings.items()}

    for name, x in units.items():
        x = x[present[name]]
        distances = [np.sum((a - b) ** 2) for a, b in itertools.permutations(x, 2)]
        expected = np.log(np.mean(np.exp(-2 * np.array(distances))))
        assert measured.uniformity[name] == pytest.approx(expected, abs=1e-5)

    for pair in measured.pairs:
        both = present[pair.first] & present[pair.second]
        a, b = units[pair.first][both], units[pair.second][both]
        assert pair.examples == both.sum()
        assert pair.gap == pytest.approx(np.linalg.norm(a.mean(0) - b.mean(0)), rel=1e-5)
        assert pair.alignment == pytest.approx(np.mean(np.sum((a - b) ** 2, axis=1)), rel=1e-5)
    assert len(measured.pairs) == 3

    complete = np.random.default_rng(0).permutation(np.flatnonzero(np.all([*present.values()], 0)))
    tuples = np.stack([x[complete] for x in units.values()], axis=1)
    labels = groups[complete]
    matched = [np.linalg.svd(t, compute_uv=False) for t in tuples]
    mismatched = []
    for i, m in itertools.product(range(len(tuples)), range(3)):
        if labels[i] != labels[i - 1]:
            mixed = tuples[i].copy()
            mixed[m] = tuples[i - 1, m]
            mismatched.append(np.linalg.svd(mixed, compute_uv=False))
    assert 0 < len(mismatched) < 3 * len(tuples)
    for values, figure in ((matched, "matched"), (mismatched, "mismatched")):
        values = np.array(values)
        volume, share = values.prod(axis=1).mean(), (values[:, 0] ** 2 / 3).mean()
        assert getattr(measured.volume, figure) == pytest.approx(volume, rel=1e-5)
        assert getattr(measured.leading_share, figure) == pytest.approx(share, rel=1e-5)
    assert measured.complete == len(complete)


def test_a_collapsed_space():
    same = np.ones((8, 16), np.float32)
    measured = diagnose(checked({"a": same, "b": same}), neighbours=False)
    assert measured.uniformity == pytest.approx({"a": 0, "b": 0}, abs=1e-6)
    assert measured.volume.matched == pytest.approx(0, abs=1e-6)
    assert measured.leading_share.mismatched == pytest.approx(1)
    assert (measured.pairs[0].gap, measured.pairs[0].alignment) == (0, 0)


def test_an_orthogonal_modality_leaves_the_tuple_flat():
    eye = np.eye(16, dtype=np.float32)
    measured = diagnose(checked({"a": eye[:8], "b": eye[8:]}), neighbours=False)
    assert measured.volume.matched == pytest.approx(1)
    assert measured.leading_share.matched == pytest.approx(0.5)
    assert measured.pairs[0].gap == pytest.approx(np.sqrt(16) / 8)
    assert measured.pairs[0].alignment == pytest.approx(2)
    assert measured.uniformity["a"] == pytest.approx(-4)


def test_mismatches_do_not_depend_on_the_order_of_the_rows():
    """In a store sorted by class, rows side by side are of one class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    centre = 1.5 * rng.normal(size=(10, 16))[labels] + 0.5 * rng.normal(size=(200, 16))
    by_class = {name: centre + 0.5 * rng.normal(size=centre.shape) for name in "ab"}
    mixed = rng.permutation(200)
    for order in (np.arange(200), mixed):
        rows = checked({name: x[order] for name, x in by_class.items()})
        assert diagnose(rows, neighbours=False).volume.separation > 0.95

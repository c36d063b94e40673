"""Means and deviations of features, read in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.data import FeatureStore, from_arrays, gather, load
from gramalign.data.packed import pack
from gramalign.models.standardize import Standardize
from gramalign.training import moments as module
from gramalign.training.moments import moments
from tests.data.test_packed import shards, spoil

ROWS = 100
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def in_parts(monkeypatch):
    monkeypatch.setattr("gramalign.data.store._ROWS", 7)


def assert_moments(found, values):
    mean, std = found
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-6)


def test_rows_that_are_there():
    values = (1e4 + RNG.standard_normal((ROWS, 3))).astype(np.float32)
    there = RNG.random(ROWS) < 0.7
    there[20:50] = False  # whole parts
    values[~there] = np.nan
    store = from_arrays(
        {
            "gaps": values,
            "present.gaps": there,
            "same": np.ones((ROWS, 1)),
            "never": np.full((ROWS, 2), np.nan),
            "present.never": np.zeros(ROWS, bool),
        }
    )
    found = moments(store)
    assert_moments(found["gaps"], np.float64(values[there]))
    assert [x.tolist() for x in found["same"]] == [[1.0], [0.0]]
    assert [x.tolist() for x in found["never"]] == [[0.0, 0.0], [0.0, 0.0]]


def test_a_feature_too_small_for_a_device_does_not_make_all_of_them_nan():
    values = RNG.standard_normal((ROWS, 3))
    values[:, 1] *= 1e-40  # as a class that no softmax has ever thought of
    measured = moments(from_arrays({"text": values}))["text"]
    assert measured[1][1] == 0
    standardised = jax.jit(Standardize(3, *measured))(values.astype(np.float32))
    assert jnp.isfinite(standardised).all()


def test_wide_features_are_read_fewer_rows_at_once(monkeypatch):
    wide = np.broadcast_to(RNG.standard_normal(2**22).astype(np.float32), (7, 2**22))
    store = FeatureStore({"wide": wide}, {"wide": np.ones(7, bool)}, np.arange(7).astype(str))
    read = []
    monkeypatch.setattr(module, "gather", lambda *of: read.append(of[1]) or gather(*of))
    mean, std = moments(store)["wide"]
    assert [len(rows) for rows in read] == [4, 3]
    np.testing.assert_allclose(mean, wide[0], rtol=1e-6)
    assert not std.any()


def test_records_that_cannot_be_read_do_not_count(tmp_path):
    values = RNG.standard_normal((ROWS, 3)).astype(np.float32)
    pack(from_arrays({"text": values, "audio": values + 3}), tmp_path / "packed", shard_rows=32)
    spoil(shards(tmp_path / "packed")[1])
    store = load(tmp_path / "packed", on_bad_record="skip")
    found = moments(store)
    kept = np.delete(np.float64(values), list(store.lost), axis=0)
    assert 1 <= len(store.lost) < 20
    assert_moments(found["text"], kept)
    assert_moments(found["audio"], kept + 3)

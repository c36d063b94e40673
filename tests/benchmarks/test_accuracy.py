"""The accuracy part tells exact volumes from others, by a reference that is exact itself."""

import numpy as np
import pytest

from gramalign.benchmarks import accuracy


@pytest.mark.parametrize("modalities", [2, 5])
def test_accuracy_of_close_tuples(modalities):
    errors = {
        distance: accuracy.measure(modalities, 64, distance, tuples=32)
        for distance in accuracy.DISTANCES
    }
    for figures in errors.values():
        assert figures["median_relative_error"]["gramalign"] < 1e-6
    near = errors[1e-4]["median_relative_error"]
    assert near["determinant"] > 0.1
    assert near["cholesky"] is None or near["cholesky"] > 0.1


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_determinants_are_as_exact_as_by_lapack(modalities):
    """Which the published code calls."""
    vectors = accuracy.close_tuples(32, modalities, 64, 1e-2)
    by_lapack = np.linalg.det(vectors @ vectors.transpose(0, 2, 1))
    assert by_lapack.dtype == np.float32
    got = accuracy.METHODS["determinant"](vectors)
    np.testing.assert_allclose(got, np.sqrt(np.abs(by_lapack)), rtol=0.02)


def test_reference_volumes():
    angle = 1e-4
    pair = np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
    np.testing.assert_allclose(accuracy.reference(pair[None]), [np.sin(angle)], rtol=1e-12)
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6, 3, 7))
    determinants = np.linalg.det(wide @ wide.transpose(0, 2, 1))
    np.testing.assert_allclose(accuracy.reference(wide), np.sqrt(determinants), rtol=1e-10)


def test_tuples_are_as_close_as_asked():
    vectors = accuracy.close_tuples(50, 3, 256, 1e-3).astype(np.float64)
    gaps = np.linalg.norm(vectors[:, 0] - vectors[:, 1], axis=1)
    np.testing.assert_allclose(np.median(gaps), np.sqrt(2) * 1e-3, rtol=0.05)

"""The embedded digits stay the same everywhere: figures depend on them."""

import hashlib

import numpy as np
import pytest

from gramalign.data import digits, load
from gramalign.data.digits import _octant


@pytest.fixture(scope="module")
def store():
    return digits()


def test_sizes(store):
    assert store.dims == {"sums": 16, "diagonals": 30, "fourier": 40, "gradients": 32}
    assert len(store) == 1797
    assert (len(store.part("train")), len(store.part("test"))) == (1447, 350)
    assert sorted(set(store.labels)) == list(range(10))
    assert all(array.dtype == np.float32 for array in store.features.values())
    assert all(mask.all() for mask in store.present.values())


def test_split_is_by_sha1_of_the_row_number(store):
    expected = [int(hashlib.sha1(str(i).encode()).hexdigest(), 16) % 5 == 0 for i in range(1797)]
    np.testing.assert_array_equal(store.split == "test", expected)


@pytest.mark.parametrize(
    "view, digest",
    [
        ("sums", "b60709720407"),
        ("diagonals", "05f822b84049"),
        ("fourier", "f41d4f489a3a"),
        ("gradients", "36004d46cb40"),
    ],
)
def test_views_are_stable(store, view, digest):
    assert hashlib.sha1(np.ascontiguousarray(store.features[view])).hexdigest()[:12] == digest


def test_views_of_one_image(store):
    from sklearn.datasets import load_digits

    image = load_digits().images[5]
    view = {name: array[5] for name, array in store.features.items()}
    np.testing.assert_array_equal(view["sums"], [*image.sum(axis=1), *image.sum(axis=0)])
    np.testing.assert_array_equal(view["diagonals"][7], np.trace(image))
    np.testing.assert_array_equal(view["diagonals"][22], np.trace(image[:, ::-1]))
    np.testing.assert_allclose(view["fourier"][0], image.sum(), rtol=1e-6)
    down, right = np.gradient(image)
    np.testing.assert_allclose(
        view["gradients"].reshape(2, 2, 8).sum(axis=-1),
        np.hypot(down, right).reshape(2, 4, 2, 4).sum(axis=(1, 3)),
        atol=1e-3,  # each of 8 bins is rounded to 4 digits
    )


def test_octants_run_round_the_circle():
    middle = np.deg2rad(np.arange(8) * 45 - 180 + 22.5)
    assert _octant(np.cos(middle), np.sin(middle)).tolist() == list(range(8))
    # The first boundary of each octant belongs to it, exactly.
    x, y = np.array([[-1, 0], [-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1]]).T * 1.0
    assert _octant(x, y).tolist() == list(range(8))


def test_load_finds_it_by_name(store):
    np.testing.assert_array_equal(load("digits").features["sums"], store.features["sums"])

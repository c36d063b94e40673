"""The built-in default: four derived views of scikit-learn's handwritten digits.

All four are functions of the same 8 x 8 pixels, so they are views of one image, not modalities.
Each omits what another keeps, so that finding one by the others has to be learned.
"""

import numpy as np
from jaxtyping import Float, Int

from gramalign.data.opening import from_arrays
from gramalign.data.split import hash_split
from gramalign.data.store import FeatureStore


def digits() -> FeatureStore:
    """Opens the 1797 digits that come with scikit-learn, as four derived views.

    The views: `sums` (rows and columns, 16), `diagonals` (projections at 45 and 135 degrees, 30),
    `fourier` (magnitudes of the spectrum, 40) and `gradients` (histograms of gradient direction
    over 2 x 2 cells, 32). Labels are the digits; the split is `hash_split` of the row numbers.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI.
    """
    images, labels = digit_images()
    ids = np.arange(len(images)).astype(np.str_)
    return from_arrays(
        {**digit_views(images), "ids": ids, "labels": labels, "split": hash_split(ids)},
        source="digits",
    )


def digit_images() -> tuple[Float[np.ndarray, "1797 8 8"], Int[np.ndarray, "1797"]]:
    """The images, with ink in [0, 16], and the digits that they show."""
    from sklearn.datasets import load_digits  # takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels, np.float64).reshape(-1, 8, 8), np.asarray(labels)


def digit_views(images: Float[np.ndarray, "n 8 8"]) -> dict[str, Float[np.ndarray, "n _width"]]:
    """The four views of images, in float32."""
    views = {
        "sums": np.concatenate([images.sum(axis=2), images.sum(axis=1)], axis=1),
        "diagonals": np.concatenate([_projection(images), _projection(images[..., ::-1])], axis=1),
        "fourier": np.abs(np.fft.rfft2(images)).reshape(len(images), -1),
        "gradients": _directions(images),
    }
    # Rounded, so that no two FFT libraries disagree about a zero.
    return {name: view.round(4).astype(np.float32) for name, view in views.items()}


def _projection(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n 15"]:
    offsets = range(1 - images.shape[1], images.shape[1])
    return np.stack([np.trace(images, offset, axis1=1, axis2=2) for offset in offsets], axis=1)


def _directions(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n 32"]:
    down, right = np.gradient(images, axis=(1, 2))
    octant = _octant(right, down)
    length = np.hypot(right, down)
    binned = np.where(octant[..., None] == np.arange(8), length[..., None], 0.0)
    return binned.reshape(-1, 2, 4, 2, 4, 8).sum(axis=(2, 4)).reshape(len(images), 32)


def _octant(x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Which eighth of the circle, from the negative x axis on.

    By comparisons, since these gradients often lie on a boundary, where an angle could be rounded
    to either side.
    """
    upper = (y > 0) | ((y == 0) & (x >= 0))
    x, y = np.where(upper, x, -x), np.where(upper, y, -y)
    second = (x <= 0) & (y > 0)
    x, y = np.where(second, y, x), np.where(second, -x, y)
    return 4 * upper + 2 * second + (y >= x) * (y > 0)

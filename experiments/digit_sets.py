"""Larger sets made of scikit-learn's digit images: more views, and more rows.

- `eight_views`: the four views of `digits`, and four more of the same 8 x 8 pixels: `coarse` (means
  of 2 x 2 pixels), `rings` (ink by distance from the centre and direction), `moments` (where on
  each row and column the ink lies) and `roughness` (total variation along lines)
- `many_rows`: three views of every training image and of seven warped copies of each, so that a
  batch of 8192 has as many different rows; test rows are those of `digits`, as they are
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from gramalign.data.digits import digit_images, digit_views
from gramalign.data.split import hash_split

COPIES = 7
"""Warped copies of each training image."""


def eight_views() -> dict[str, np.ndarray]:
    """Arrays of a feature store with eight modalities, the rows and the split of `digits`."""
    images, labels = digit_images()
    ids = np.arange(len(images)).astype(np.str_)
    more = {
        "coarse": images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16),
        "rings": _rings(images),
        "moments": _moments(images),
        "roughness": _roughness(images),
    }
    views = digit_views(images) | {name: x.round(4).astype(np.float32) for name, x in more.items()}
    return {**views, "ids": ids, "labels": labels, "split": hash_split(ids)}


def many_rows() -> dict[str, np.ndarray]:
    """Arrays of a feature store with three modalities and over 11 000 training rows."""
    images, labels = digit_images()
    ids = np.arange(len(images)).astype(np.str_)
    split = hash_split(ids)
    train = np.flatnonzero(split == "train")
    rng = np.random.default_rng(0)
    copies = [np.stack([_warped(images[i], rng) for i in train]) for _ in range(COPIES)]
    views = digit_views(np.concatenate([images, *copies]))
    return {
        **{name: views[name] for name in ("sums", "fourier", "gradients")},
        "ids": np.concatenate(
            [ids, *(np.char.add(ids[train], f"-{number}") for number in range(1, COPIES + 1))]
        ),
        "labels": np.concatenate([labels, *([labels[train]] * COPIES)]),
        "split": np.concatenate([split, np.full(COPIES * len(train), "train")]),
    }


def _warped(image: Float[np.ndarray, "8 8"], rng: np.random.Generator) -> Float[np.ndarray, "8 8"]:
    """Turned, stretched, sheared and moved a little."""
    angle, shear = np.deg2rad(rng.uniform(-15, 15)), rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(rng.uniform(0.85, 1.15, 2))
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix @ centre + rng.uniform(-0.5, 0.5, 2)
    return ndimage.affine_transform(image, matrix, offset, order=1)  # pyright: ignore[reportArgumentType]


def _rings(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n 24"]:
    """Mean ink in three rings of eight sectors, each pixel in the one its centre lies in."""
    down, right = np.mgrid[:8, :8] - 3.5
    ring = np.digitize(np.hypot(down, right), [2.0, 3.5])
    sector = ((np.arctan2(down, right) / (2 * np.pi) + 0.5) * 8).astype(int) % 8
    cell = (ring * 8 + sector).ravel()
    member = (cell == np.arange(24)[:, None]).astype(np.float64)
    return (
        images.reshape(len(images), -1) @ (member / np.maximum(member.sum(1, keepdims=True), 1)).T
    )


def _moments(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n 32"]:
    """Where the ink of each row and column lies, and how widely; the middle where there is none."""
    place = np.arange(8) - 3.5
    lines = np.concatenate([images, images.transpose(0, 2, 1)], axis=1) + 1e-6
    weight = lines / lines.sum(axis=2, keepdims=True)
    mean = (weight * place).sum(axis=2)
    variance = (weight * (place - mean[..., None]) ** 2).sum(axis=2)
    return np.concatenate([mean, np.sqrt(variance)], axis=1)


def _roughness(images: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n 42"]:
    """Total variation along every row, column and diagonal of two pixels or more."""
    lines = [images[:, i, :] for i in range(8)] + [images[:, :, i] for i in range(8)]
    for each in (images, images[..., ::-1]):
        lines += [np.diagonal(each, offset, 1, 2) for offset in range(-6, 7)]
    return np.stack([np.abs(np.diff(line, axis=1)).sum(axis=1) for line in lines], axis=1)

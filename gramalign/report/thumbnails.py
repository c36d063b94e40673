"""Rows of a modality as small pictures: the user says which rows are, as a store does not know."""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gramalign.counted import counted
from gramalign.data import FeatureStore
from gramalign.report.blocks import Picture


@dataclass(frozen=True)
class Images:
    """How the rows of a modality are pictures: height x width x channels values, row by row.

    Attributes:
        modality: its name.
        shape: height, width and channels; 1, 3 or 4 channels: grey, RGB, RGB with opacity.
    """

    modality: str
    shape: tuple[int, int, int]


def parse_images(text: str) -> Images:
    """Reads `MODALITY:HxW` or `MODALITY:HxWxC`.

    Raises:
        ValueError: it is neither.

    >>> parse_images("photo:32x32x3")
    Images(modality='photo', shape=(32, 32, 3))
    """
    match = re.fullmatch(r"(.+):([1-9]\d*)x([1-9]\d*)(?:x([134]))?", text)
    if not match:
        raise ValueError(
            f"images: got {text!r}, expected MODALITY:HEIGHTxWIDTH for grey pictures, followed by "
            "x3 for RGB or x4 for RGB with opacity, such as photo:32x32x3"
        )
    return Images(match[1], (int(match[2]), int(match[3]), int(match[4] or 1)))


def check_images(images: Sequence[Images], widths: Sequence[Mapping[str, int]]) -> None:
    """Raises a ValueError for pictures of a modality that no run has, or that do not fit its width.

    Args:
        images: how to show rows as pictures.
        widths: by modality, for each run.
    """
    known = sorted({name for each in widths for name in each})
    for image in images:
        if image.modality not in known:
            raise ValueError(f"images: got {image.modality!r}, expected one of {', '.join(known)}")
        wanted = math.prod(image.shape)
        for width in {each[image.modality] for each in widths if image.modality in each} - {wanted}:
            raise ValueError(
                f"images: {image.modality} has {counted(width, 'value')} a row, but "
                f"{'x'.join(map(str, image.shape))} is {wanted} values; give the height and "
                "width of its pictures"
            )


class Thumbnails:
    """Pictures of the rows of a store.

    Bytes are shown as they are; other values are scaled from the smallest (black) to the largest
    (white) that the modality has in these rows.

    Args:
        rows: the store.
        images: how to show its modalities; those that it lacks are left out.
    """

    def __init__(self, rows: FeatureStore, images: tuple[Images, ...] = ()):
        self._rows = rows
        self._images = tuple(x for x in images if x.modality in rows.modalities)
        self._range: dict[str, tuple[float, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._images)

    def of(self, row: int) -> tuple[Picture, ...]:
        """Pictures of an example, for the modalities that it has."""
        return tuple(
            Picture(image.modality, self._uri(image, row))
            for image in self._images
            if self._rows.present[image.modality][row]
        )

    def _uri(self, image: Images, row: int) -> str:
        from PIL import Image  # comes with matplotlib

        values = np.asarray(self._rows.features[image.modality][np.array([row])])[0]
        if values.dtype != np.uint8:
            low, high = self._limits(image.modality)
            scaled = (values.astype(float) - low) / ((high - low) or 1.0)
            values = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
        pixels = values.reshape(image.shape)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if image.shape[2] == 1 else pixels).save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

    def _limits(self, modality: str) -> tuple[float, float]:
        if modality not in self._range:
            there = np.flatnonzero(self._rows.present[modality])
            values = np.asarray(self._rows.features[modality][there])
            self._range[modality] = float(values.min()), float(values.max())
        return self._range[modality]

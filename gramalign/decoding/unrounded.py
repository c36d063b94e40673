"""Images as DINOv3 takes them, which Hugging Face's processor makes with torchvision alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gramalign.settings import is_number, settled

if TYPE_CHECKING:
    from PIL import Image

_SETTINGS: Mapping[str, Any] = {  # where a processor's configuration is silent
    **{"do_rescale": True, "do_resize": True, "do_normalize": True, "do_center_crop": False},
    **{"size": {"height": 224, "width": 224}, "resample": 2, "rescale_factor": 1 / 255},
    **{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
}


class Unrounded:
    """Resizes images that are fractions of white already, so that nothing rounds them to 8 bits.

    Args:
        settings: of `preprocessor_config.json`.

    Raises:
        ValueError: for settings that no published processor has.
    """

    def __init__(self, settings: Mapping[str, Any]):
        given = {name: value for name, value in settings.items() if value is not None}
        settings = settled(_SETTINGS, given)
        for name in ("do_rescale", "do_resize", "do_normalize", "do_center_crop"):
            if settings[name] != _SETTINGS[name]:
                raise ValueError(f"{name} is {settings[name]}, expected {_SETTINGS[name]}")
        match settings["size"]:
            case {"height": int(height), "width": int(width)} if min(height, width) > 0:
                self.size = width, height
            case size:
                raise ValueError(f"size is {size}, expected a height and a width")
        self.resample, self.factor = settings["resample"], settings["rescale_factor"]
        self.mean, self.std = (_of_channels(settings, f"image_{name}") for name in ("mean", "std"))

    def __call__(
        self, images: "Sequence[Image.Image]", *, return_tensors: str
    ) -> dict[str, Float[np.ndarray, "images 3 height width"]]:
        """Makes `pixel_values` of images in RGB; `return_tensors` is "np", as for others."""
        assert return_tensors == "np"
        return {"pixel_values": np.stack([self._pixels(image) for image in images])}

    def _pixels(self, image: "Image.Image") -> Float[np.ndarray, "3 height width"]:
        from PIL import Image

        channels = np.moveaxis(np.asarray(image, np.float32) * np.float32(self.factor), -1, 0)
        resized = [
            Image.fromarray(channel).resize(self.size, Image.Resampling(self.resample))
            for channel in channels
        ]
        return (np.stack([np.asarray(channel) for channel in resized]) - self.mean) / self.std


def _of_channels(settings: Mapping[str, Any], name: str) -> Float[np.ndarray, "3 1 1"]:
    """What a setting says of each channel: one number, or one for each."""
    given = settings[name]
    found = given if isinstance(given, list | tuple) else [given] * 3
    above = " above 0" if name.endswith("std") else ""
    if len(found) != 3 or not all(is_number(x) and (not above or x > 0) for x in found):
        raise ValueError(f"{name} is {given!r}, expected a number{above}, or one for each channel")
    return np.asarray(found, np.float32)[:, None, None]

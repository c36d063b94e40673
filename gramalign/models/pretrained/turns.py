"""Where patches are, told to attention by turning what it compares: rotary positions (RoPE).

Queries and keys are turned by angles that grow with their place, so that their products depend on
how far they are apart. Source: Su et al., arXiv 2104.09864; along both axes of an image, DINOv3,
arXiv 2508.10104.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gramalign.models.pretrained.fronts import Inputs, given


@dataclass(frozen=True)
class Turns:
    """By which angles patches of images are turned: of any size, as places go from -1 to 1.

    >>> turns = Turns(4, (8, 8), 100.0, before=1, after=0)
    >>> cosines, sines = turns({"pixel_values": np.zeros((2, 3, 8, 16))})
    >>> cosines.round(2).tolist()  # of the token before, and of a patch on the left and the right
    [[1.0, 1.0], [1.0, -1.0], [1.0, -1.0]]

    Raises:
        ValueError: heads of another width than a multiple of 4.
    """

    width: int
    """Of a head: a quarter of it for sines and for cosines of rows and of columns."""
    patch: tuple[int, int]
    """Height and width of a patch."""
    base: float
    """By how much the waves of a head's features slow down, from the first to after the last."""
    before: int
    """Number of tokens before the patches, which are not turned."""
    after: int
    """Number of tokens after the patches, likewise."""

    def __post_init__(self):
        if self.width % 4:
            raise ValueError(
                f"attention heads have a width of {self.width}, expected a multiple of 4"
            )

    def __call__(self, inputs: Inputs) -> Float[np.ndarray, "2 tokens half"]:
        """Cosines and sines of the angles of `pixel_values` `[batch, channels, height, width]`."""
        size = given(inputs, "pixel_values", 4).shape[2:]
        centers = [
            (2 * np.arange(count) + 1) / count - 1
            for count in (whole // part for whole, part in zip(size, self.patch, strict=True))
        ]
        places = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1).reshape(-1, 2, 1)
        waves = 2 * np.pi / self.base ** (np.arange(self.width // 4) * 4 / self.width)
        angles = (places * waves).reshape(len(places), -1)
        angles = np.pad(angles, ((self.before, self.after), (0, 0)))
        return np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)

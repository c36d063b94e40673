"""Settings of the engine; none changes the result, except for rounding."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

from gramalign.contrast.exchange import Strategy
from gramalign.mesh import platform

TILES = {
    # Measured on two quiet cores, float32, d = 512, by `gramalign bench --tiles 512 1024 2048`: the
    # fastest or within 3 % of it for GRAM and PMRL at 1024 and 4096, within 10 % at 2048, where one
    # tile of 2048 is all there is.
    "cpu": 1024,
    # Derived, not measured. Products of tiles of 2048 at d = 512 are 4 GFLOP, some 6 microseconds
    # on a large GPU; those of 1024 take less than the launch of a kernel, and leave half of its
    # cores idle. Their scores are 16 MiB in float32, a few of which stay in its cache from one
    # kernel to the next; those of 4096 are 64 MiB, more than it holds.
    "gpu": 2048,
    "tpu": 1024,
}
"""Default tile sizes by platform."""

Implementation = Literal["xla", "pallas"]
Precision = Literal["bfloat16"]


@dataclass(frozen=True)
class Engine:
    """How all pairs are computed: affects speed and memory, results only by rounding.

    Raises:
        ValueError: for an unknown strategy, implementation or precision, or a tile that is not a
            positive whole number.
    """

    strategy: Strategy | None = None
    """On a mesh, each device gathers all columns, or columns travel round a ring, where memory does
    not grow with the number of devices; None gathers up to 128 MiB."""
    tile: int | None = None
    """Most rows and columns of a score matrix held at a time; None: the platform's, `TILES`."""
    implementation: Implementation = "xla"
    """Tiles compiled by XLA or, for a loss on a TPU, computed in a fused kernel ("pallas") that
    keeps them on the chip; on a CPU it is interpreted, slowly, for tests."""
    precision: Precision | None = None
    """Dtype in which a loss multiplies all pairs: on an accelerator "bfloat16" takes a sixth of
    float32's time or less, and rounds each pair by a few parts in a thousand. Sums and matched
    pairs stay in float32, and so do ranks and search. None: that of the embeddings."""

    def __post_init__(self):
        if self.strategy not in (None, *get_args(Strategy)):
            raise ValueError(f'strategy must be "gather", "ring" or None, got {self.strategy!r}')
        if self.implementation not in get_args(Implementation):
            raise ValueError(
                f'implementation must be "xla" or "pallas", got {self.implementation!r}'
            )
        if self.precision not in (None, *get_args(Precision)):
            raise ValueError(f'precision must be "bfloat16" or None, got {self.precision!r}')
        if self.tile is not None and (
            isinstance(self.tile, bool) or not isinstance(self.tile, Integral) or self.tile < 1
        ):
            raise ValueError(f"tile must be a whole number of at least 1, got {self.tile!r}")

    def tile_size(self) -> int:
        """The tile; for None, the default of the platform being traced for."""
        return TILES.get(platform(), TILES["cpu"]) if self.tile is None else self.tile

    def multiple(self) -> int:
        """The size of a block of rows or columns must be a multiple of this."""
        return 128 if self.implementation == "pallas" else 1


DEFAULT_ENGINE = Engine()

"""How the engine goes about its work; nothing here changes what comes out."""

from dataclasses import dataclass
from typing import Literal, get_args

from gramalign.contrast.exchange import Strategy

Implementation = Literal["xla", "pallas"]


@dataclass(frozen=True)
class Engine:
    """How all pairs are gone through: speed and memory; results differ by rounding at most.

    Raises:
        ValueError: for an unknown strategy or implementation, or a tile that is not positive.
    """

    strategy: Strategy | None = None
    """On a mesh, every device gathers all columns, or they travel round a ring, and memory does not
    grow with the number of devices; None gathers up to 128 MiB."""
    tile: int = 1024
    """At most this many rows and columns of a score matrix exist at a time."""
    implementation: Implementation = "xla"
    """Tiles as XLA compiles them or, for a loss on a TPU, in a fused kernel ("pallas"), where they
    never leave the chip; on a CPU that kernel is interpreted, slowly, for tests."""

    @property
    def multiple(self) -> int:
        """What the size of a block of rows or columns has to be a multiple of."""
        return 128 if self.implementation == "pallas" else 1

    def __post_init__(self):
        """Refuse what is none of them."""
        if self.strategy not in (None, *get_args(Strategy)):
            raise ValueError(f'strategy must be "gather", "ring" or None, got {self.strategy!r}')
        if self.implementation not in get_args(Implementation):
            raise ValueError(
                f'implementation must be "xla" or "pallas", got {self.implementation!r}'
            )
        if self.tile < 1:
            raise ValueError(f"tile must be at least 1, got {self.tile}")


DEFAULT_ENGINE = Engine()

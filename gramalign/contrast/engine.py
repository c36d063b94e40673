"""How the engine goes about its work; nothing here changes what comes out."""

from dataclasses import dataclass
from typing import get_args

from gramalign.contrast.exchange import Strategy


@dataclass(frozen=True)
class Engine:
    """How all pairs are gone through: speed and memory; results differ by rounding at most.

    Raises:
        ValueError: for an unknown strategy or a tile that is not positive.
    """

    strategy: Strategy | None = None
    """On a mesh, every device gathers all columns, or they travel round a ring, and memory does not
    grow with the number of devices; None gathers up to 128 MiB."""
    tile: int = 1024
    """At most this many rows and columns of a score matrix exist at a time."""

    def __post_init__(self):
        """Refuse what is none of them."""
        if self.strategy not in (None, *get_args(Strategy)):
            raise ValueError(f'strategy must be "gather", "ring" or None, got {self.strategy!r}')
        if self.tile < 1:
            raise ValueError(f"tile must be at least 1, got {self.tile}")


DEFAULT_ENGINE = Engine()

"""What is measured: a method on a batch of one size and dtype, and how gramalign computes it."""

from dataclasses import dataclass
from typing import Literal

from gramalign.contrast.engine import Implementation
from gramalign.contrast.exchange import Strategy

Method = str
"""An objective by its name in `gramalign.training.TERMS`, or your own loss by its place."""
PUBLISHED: tuple[Method, ...] = ("gram", "pmrl", "clip")
"""Those whose published code, written in torch, stands beside."""
DType = Literal["float32", "bfloat16"]

BATCHES: dict[str, dict[Method, tuple[int, ...]]] = {
    # Minutes on two cores, the peers included.
    "cpu": {"gram": (2048, 4096, 8192), "pmrl": (256, 1024), "clip": (2048,)},
    # The first of each is a size at which the published code still fits one GPU.
    "gpu": {
        "gram": (8192, 65536, 262144),
        "pmrl": (1024, 65536, 262144),
        "clip": (8192, 65536, 262144),
    },
    "tpu": {"gram": (65536, 262144), "pmrl": (65536, 262144), "clip": (65536, 262144)},
}
"""Batch sizes by platform and method, where none are asked for; of other methods, those of clip."""

MEMORY_BATCHES = {
    "cpu": (8192, 16384, 32768),
    "gpu": (65536, 131072, 262144),
    "tpu": (65536, 131072, 262144),
}
"""Batch sizes whose compiled memory is read, by platform."""

IMPLEMENTATIONS: dict[str, tuple[Implementation, ...]] = {
    "cpu": ("xla",),
    "gpu": ("xla",),
    "tpu": ("xla", "pallas"),
}
"""Implementations of the tiles that compute on a platform."""

DTYPES: dict[str, DType] = {"cpu": "float32", "gpu": "bfloat16", "tpu": "bfloat16"}
"""The dtype of the embeddings by platform, where none is asked for."""

PEER_LIMITS: dict[str, int | None] = {"cpu": 4096, "gpu": None, "tpu": None}
"""Largest batch of a peer by platform: on a CPU, running out of memory may end the process."""


@dataclass(frozen=True)
class Workload:
    """Loss and gradient of one method for one batch."""

    method: Method
    batch: int
    modalities: int = 4
    dim: int = 512
    dtype: DType = "float32"

    def __str__(self):
        """The text that begins a progress message."""
        return f"{self.method}, B = {self.batch}, {self.dtype}"


@dataclass(frozen=True)
class Way:
    """How gramalign computes a workload; the result is the same."""

    tile: int
    """At most this many rows and columns of scores at a time."""
    devices: int = 1
    strategy: Strategy | None = None
    """How the columns come to all devices; None on one, and where XLA divides the loss."""
    implementation: Implementation = "xla"
    """Of the tiles."""

    def __str__(self):
        """The text for a progress message."""
        several = f" on {self.devices} devices" if self.devices > 1 else ""
        by = f", {self.strategy}" if self.strategy else ""
        return f"tile {self.tile} by {self.implementation}{several}{by}"

"""What one run of the benchmarks measures, with every default filled in."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from gramalign.benchmarks.workload import DType, Method, Way, Workload
from gramalign.training.own_terms import term_named

Part = Literal["speed", "memory", "accuracy", "training", "retrieval", "statistics", "peer-largest"]


@dataclass(frozen=True)
class Plan:
    """Parts, sizes and repeats."""

    platform: str
    """`cpu`, `gpu` or `tpu`, on which JAX computes."""
    parts: tuple[Part, ...]
    methods: tuple[Method, ...]
    dtypes: tuple[DType, ...]
    batches: dict[Method, tuple[int, ...]]
    ways: tuple[Way, ...]
    """Each is timed for each workload; memory is read for the first."""
    modalities: int
    dim: int
    repeats: int
    threads: int
    peer_limit: int | None
    """Largest batch to try a peer with; None: any."""
    peer_seconds: int
    """Longest call of a peer."""
    memory_batches: tuple[int, ...]
    resident_batch: int
    accuracy_modalities: tuple[int, ...]

    @property
    def workloads(self) -> list[Workload]:
        """The workloads to time, the smallest batches first."""
        return [
            Workload(method, batch, self.modalities, self.dim, dtype)
            for method in self.methods
            for dtype in self.dtypes
            for batch in sorted(self.batches[method])
        ]

    def ways_for(self, workload: Workload) -> list[Way]:
        """The distinct ways for a workload.

        A tile is at most a device's part of the batch, and only a loss that knows of axes has a
        strategy.
        """
        ways = [
            replace(way, tile=min(way.tile, workload.batch // way.devices)) for way in self.ways
        ]
        if not term_named(workload.method).takes("axis_name"):
            ways = [replace(way, strategy=None) for way in ways]
        return list(dict.fromkeys(ways))

    def to_json(self) -> dict[str, Any]:
        """As JSON-compatible values."""
        return asdict(self)

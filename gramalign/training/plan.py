"""Predicts what a training step takes on a TPU slice or on GPUs, by compiling it without them.

The step that `train` makes is compiled for the chips, its batch split over all of them. Its
memory is what the compiler has laid out. Its matrix products are counted from the trace; memory
traffic and communication between chips from the compiled program. Each is divided by the chips'
peak:

    compute = products, each as the bfloat16 products that it takes or as long as, / peak
    moving = bytes that a chip reads and writes / bandwidth of its memory
    communication = bytes that a chip sends / bandwidth of its links

Products are assumed to be shared evenly. If devices share each product (`layout.model`) and no rule
splits a matrix over them, such as that of a tower's linear path, they all compute the same, which
is more than is counted here.

A collective-permute uses one link, to the neighbour; other collectives use all links of a chip, as
in a whole torus. On TPUs these are lower bounds: elementwise work, latency and detours are left
out, and that a chip of a small slice has fewer neighbours. On GPUs they are left out too, but a
cache saves a part of the traffic, and a switch that sums can be faster than the rings that are
counted here. Between hosts, a collective uses the network cards of all GPUs that take part in it.
An asynchronous collective can run while the chip computes or moves data, so it is hidden if it
takes no longer than that; any other always adds to the step.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from gramalign.programs.chips import Chip, chip_of
from gramalign.programs.collectives import Collective, collectives
from gramalign.programs.flops import traced_flops
from gramalign.programs.memory import Memory, OutOfMemory, compiled
from gramalign.programs.traffic import Traffic, traffic
from gramalign.training.config import Config
from gramalign.training.largest import Trial
from gramalign.training.layout import check_batch
from gramalign.training.start import make_programs


@dataclass(frozen=True)
class Plan:
    """The costs of a step that fits; the step is one that writes a line of the log."""

    batch_size: int
    devices: int
    chip: Chip
    """The peaks of each device."""
    memory: Memory
    """On each device."""
    flops: int
    """Operations of matrix products, all devices together, each product counted once."""
    bfloat16_flops: int
    """The same, each in float32 as those in bfloat16 that the chip runs for it, or meanwhile."""
    traffic: Traffic
    """Of each device and its memory."""
    collectives: tuple[Collective, ...]

    @property
    def compute(self) -> float:
        """Seconds of matrix products at peak."""
        return self.bfloat16_flops / self.devices / self.chip.flops

    @property
    def moving(self) -> float:
        """Seconds of memory traffic at peak."""
        return self.traffic.moved / self.chip.memory_bandwidth

    @property
    def busy(self) -> float:
        """Seconds that a device is busy by itself, with products and traffic at the same time."""
        return max(self.compute, self.moving)

    @property
    def communication(self) -> tuple[float, float]:
        """Seconds of collectives at peak: those that can be hidden, and those that cannot."""
        seconds = {True: 0.0, False: 0.0}
        for collective in self.collectives:
            seconds[collective.asynchronous] += self.seconds(collective)
        return seconds[True], seconds[False]

    @property
    def exposed(self) -> float:
        """Seconds of communication that compute cannot hide."""
        hideable, rest = self.communication
        return rest + max(0.0, hideable - self.busy)

    def seconds(self, collective: Collective) -> float:
        """Seconds that a chip's links and network card take for one kind of collective at peak."""
        one_way = collective.kind == "collective-permute"
        chip = self.chip
        by_link = collective.sent / (chip.link_bandwidth if one_way else chip.send_bandwidth)
        if chip.network_bandwidth is None:
            return by_link
        return max(by_link, collective.leaving / chip.network_bandwidth)

    def to_json(self) -> dict[str, Any]:
        """All figures, and those derived from them."""
        hideable, rest = self.communication
        return {
            **asdict(self),
            "memory": {**asdict(self.memory), "total": self.memory.total},
            "collectives": [
                {**asdict(each), "seconds": self.seconds(each)} for each in self.collectives
            ],
            "seconds": {
                "compute": self.compute,
                "moving": self.moving,
                "asynchronous": hideable,
                "synchronous": rest,
                "exposed": self.exposed,
            },
        }


def trace_step(config: Config, dims: Mapping[str, int], mesh: Mesh) -> jax.stages.Traced:
    """Traces the step that `train` runs on a mesh, without allocating its arrays.

    Args:
        config: the run.
        dims: width of each modality's features.
        mesh: the devices, from `gramalign.training.layout.mesh_of`.

    Raises:
        ValueError: a batch that is not divisible by the number of devices; as `make_programs`.
    """
    check_batch(config.batch_size, mesh)
    return make_programs(config, dims, mesh).trace()


def plan(config: Config, dims: Mapping[str, int], mesh: Mesh) -> Plan:
    """Compiles the training step of a run for given chips, and counts its costs.

    Args:
        config: the run.
        dims: width of each modality's features.
        mesh: from `gramalign.training.layout.mesh_of`.

    Raises:
        OutOfMemory: the step needs more memory than a chip has.
        ValueError: a batch that is not divisible by the number of devices, or a chip whose peaks
            are not known.
    """
    devices = mesh.devices.ravel().tolist()
    chip = chip_of(devices)
    # TPU links also connect hosts.
    linked = chip.network_bandwidth is None
    hosts = None if linked else [device.process_index for device in devices]
    traced = trace_step(config, dims, mesh)
    program, taken = compiled(traced.lower(), mesh)
    text = program.as_text() or ""
    return Plan(
        batch_size=config.batch_size,
        devices=mesh.size,
        chip=chip,
        memory=taken,
        flops=traced_flops(traced.jaxpr),
        bfloat16_flops=traced_flops(traced.jaxpr, chip.passes),
        traffic=traffic(text),
        collectives=tuple(collectives(text, hosts)),
    )


def attempt(config: Config, dims: Mapping[str, int], mesh: Mesh) -> Trial:
    """As `plan`, but tells only whether the batch fits and the memory it takes.

    Raises:
        ValueError: a batch that is not divisible by the number of devices.
    """
    try:
        _, taken = compiled(trace_step(config, dims, mesh).lower(), mesh)
        return Trial(config.batch_size, True, taken.total)
    except OutOfMemory as refused:
        return Trial(config.batch_size, False, refused.needed)

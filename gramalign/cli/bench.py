"""`gramalign bench`: speed, memory and accuracy of the losses, beside the published code."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from gramalign.benchmarks import device, report, workload
from gramalign.benchmarks.machine import in_words
from gramalign.benchmarks.plan import Part, Plan
from gramalign.benchmarks.steps import names, objective
from gramalign.benchmarks.tables import tables
from gramalign.benchmarks.workload import DType, Method, Way
from gramalign.cli.console import console, stages_on
from gramalign.cli.figures import write_figures
from gramalign.cli.targets import check_file
from gramalign.contrast import Engine
from gramalign.contrast.engine import Implementation
from gramalign.contrast.exchange import Strategy
from gramalign.training.terms import TERMS

PARTS: tuple[Part, ...] = ("speed", "memory", "accuracy")
USED_BY: dict[str, tuple[Part, ...]] = {
    "methods": ("speed", "memory", "peer-largest"),
    "batches": ("speed",),
    "dtypes": ("speed", "memory", "peer-largest"),
    "modalities": ("speed", "memory", "peer-largest"),
    "dim": (*PARTS, "peer-largest"),
    "tiles": ("speed", "memory", "peer-largest"),
    "devices": ("speed",),
    "strategies": ("speed",),
    "implementations": ("speed", "peer-largest"),
    "repeats": ("speed", "training", "retrieval", "peer-largest"),
    "peer_limit": ("speed",),
    "peer_seconds": ("speed", "peer-largest"),
    "memory_batches": ("memory",),
    "resident_batch": ("memory",),
    "accuracy_modalities": ("accuracy",),
}
"""The parts that an option makes a difference to; others make one to all."""


@dataclass(frozen=True)
class Bench:
    """Measure the speed, memory and accuracy of loss and gradient.

    Each row of the speed table is one method at one size, beside two baselines: the published code
    in torch, if installed for the same kind of device, and the bare matrix products, a floor under
    any implementation. All run on the same inputs and take turns, so that other load on the machine
    affects them alike. Prints tables and writes every figure to a JSON file. Ends with status 1 if
    gramalign failed (out of memory is a result), it and the published code computed different
    losses, a process took more memory than allowed, or an interval covered the truth too rarely.

    Examples: `gramalign bench`, `gramalign bench --only speed --methods gram --batches 4096
    --tiles 256 512 1024 2048`, `gramalign bench --platform cpu --devices 4 --batches 2048`.
    """

    only: Part | None = None
    """Measure one part; None: speed, memory, accuracy. training: overhead of the loop beside its
    compiled step, how long a save stops it, how fast input is read; takes 3 GB on disk meanwhile.
    retrieval: ranks beside sorting, and a gallery of 100 000 by volume; minutes on a CPU.
    statistics: coverage of intervals and errors of tests, by simulation; two minutes.
    peer-largest: on a GPU, the published code's batch doubled until it runs out of memory or time,
    and both timed there, gramalign by the fastest of --tiles; minutes for each method."""
    methods: tuple[str, ...] = workload.PUBLISHED
    """Losses to measure: objectives from `gramalign methods`, or all: those that --modalities
    allows. Published code exists for gram, pmrl and clip."""
    batches: tuple[int, ...] | None = None
    """Batch sizes to time, for every method. None: on a CPU gram 2048 4096 8192, pmrl 256 1024 and
    others 2048; on a GPU or TPU up to 262144; each cut to a multiple of --devices."""
    dtypes: tuple[DType, ...] | None = None
    """Dtypes of the embeddings; None: float32 on a CPU, bfloat16 on a GPU or TPU. Compiled memory
    is that of the first."""
    modalities: int = 4
    """Modalities in a tuple, k; the first is the anchor."""
    dim: int = 512
    """Width of the embeddings, d."""
    tiles: tuple[int, ...] | None = None
    """Tile sizes to compare; the fastest is marked. None: the engine's own for this platform.
    Compiled memory is that of the first."""
    devices: int = 1
    """Devices to split the batch over in the speed part; simulated on a CPU."""
    strategies: tuple[Strategy, ...] | None = None
    """How several devices share columns: gather or ring; None: both."""
    implementations: tuple[Implementation, ...] | None = None
    """What computes the tiles: xla or, on a TPU, the fused kernel pallas; None: all available."""
    platform: Literal["cpu", "cuda", "rocm", "tpu"] | None = None
    """Where to compute; None: the best that JAX finds."""
    threads: int = 2
    """CPU threads, for gramalign and torch; ignored on a GPU or TPU."""
    repeats: int = 5
    """Rounds in which all take a turn; figures are medians over rounds."""
    peer_limit: int | None = None
    """Largest batch for the published code. None: 4096 on a CPU, where its gram takes some 6 GiB,
    and four times that at twice the batch; no limit on a GPU."""
    peer_seconds: int = 60
    """Longest call of the published code; it is left out where it takes longer, or would, judging
    by fewer examples."""
    memory_batches: tuple[int, ...] | None = None
    """Batch sizes for which memory is read from the compiled program; nothing is run. None: 8192 to
    32768 on a CPU, 65536 to 262144 on a GPU or TPU."""
    resident_batch: int = 8192
    """Batch size for measuring a fresh process's memory, on a CPU."""
    accuracy_modalities: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    """Sizes of tuples whose volume is checked."""
    out: Path = Path("runs/bench.json")
    """JSON file for the figures, overwritten; its folder is created."""

    def __post_init__(self):
        """Refuse what cannot be measured, by the option's name."""
        self._check_part()
        lowest = {"modalities": 2, "batches": 2, "memory_batches": 2, "accuracy_modalities": 2}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, tuple):
                if not value:
                    raise ValueError(f"{_option(name)}: got none, expected at least one")
                if len(set(value)) < len(value):
                    raise ValueError(f"{_option(name)} names a value twice: {_words(value)}")
            least = lowest.get(name, 1)
            numbers = [x for x in _each(value) if isinstance(x, int) and not isinstance(x, bool)]
            if any(number < least for number in numbers):
                raise ValueError(f"{_option(name)} must be at least {least}, got {_words(value)}")
        if unknown := [x for x in self.methods if x not in (*TERMS, "all") and ":" not in x]:
            raise ValueError(
                f"--methods: {unknown[0]} is not an objective; give all, or some of "
                f"{', '.join(TERMS)}, or your own as package.module:name"
            )
        for method in {*self.methods} - {"all"}:
            if (why := self._why_not(method)) is not None:
                raise ValueError(f"--methods: {why}")
        # More vectors than dimensions have volume 0, to which no error is relative.
        if self.only in (None, "accuracy") and max(self.accuracy_modalities) > self.dim:
            raise ValueError(
                f"--accuracy-modalities must be at most --dim {self.dim}, "
                f"got {_words(self.accuracy_modalities)}"
            )
        if self.only == "peer-largest" and not {*self.methods} & {*workload.PUBLISHED, "all"}:
            raise ValueError(
                f"--only peer-largest needs published code, got --methods {_words(self.methods)}: "
                f"give some of {_words(workload.PUBLISHED)}"
            )
        if self.strategies and self.devices == 1:
            raise ValueError("--strategies applies to several devices: give --devices as well")

    def _check_part(self) -> None:
        """Raises `ValueError` for options that make no difference to the one part."""
        if self.only is None:
            return
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        unused = [
            f"{_option(name)} (for {', '.join(USED_BY[name])})"
            for name in given
            if name in USED_BY and self.only not in USED_BY[name]
        ]
        if unused:
            several = ", ".join(unused)
            raise ValueError(
                f"--only {self.only} makes no use of {several}: leave these out, or --only"
            )

    def run(self) -> None:
        """Measure, print, write; end with status 1 if results are wrong."""
        check_file("--out", self.out, "bench")
        plan = self.plan(device.start(self.platform, self.threads, self.devices))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with stages_on(console(stderr=True)) as say:
            # Kept as it comes: it may take long, and end early.
            found = report.measure(plan, say, lambda found: write_figures(self.out, found))

        screen = console()
        screen.print(tables(found))
        screen.print(in_words(found["machine"]), soft_wrap=True)
        screen.print(f"All figures: {self.out}", soft_wrap=True)
        if wrong := report.problems(found):
            sys.exit("\n".join(f"bench: {problem}" for problem in wrong))

    def plan(self, platform: str) -> Plan:
        """The options with the defaults of the platform that JAX computes on.

        Raises:
            ValueError: for a batch that does not divide over the devices, a search for the peer's
                largest batch without a GPU, or an implementation that is not for the platform.
        """
        if self.only == "peer-largest" and platform != "gpu":
            raise ValueError(
                "--only peer-largest needs a GPU: on a CPU, a process that runs out of memory is "
                "killed"
            )
        own = workload.BATCHES[platform]
        methods = self._possible() if "all" in self.methods else self.methods
        batches: dict[Method, tuple[int, ...]] = {
            method: self.batches or tuple(map(self._whole, own.get(method, own["clip"])))
            for method in methods
        }
        for batch in self.batches or ():
            if batch % self.devices:
                raise ValueError(
                    f"--batches {batch} does not divide evenly over --devices {self.devices}: "
                    f"try {self._whole(batch)}"
                )
        strategies = self.strategies or ("gather", "ring")
        possible = workload.IMPLEMENTATIONS[platform]
        for implementation in self.implementations or ():
            if implementation not in possible:
                raise ValueError(
                    f"--implementations {implementation} does not run on a {platform}: "
                    f"expected {_words(possible)}"
                )
        return Plan(
            platform=platform,
            parts=(self.only,) if self.only else PARTS,
            methods=methods,
            dtypes=self.dtypes or (workload.DTYPES[platform],),
            batches=batches,
            ways=tuple(
                Way(tile, self.devices, strategy, implementation)
                for tile in self.tiles or (Engine().tile_size(),)
                for strategy in (strategies if self.devices > 1 else (None,))
                for implementation in self.implementations or possible
            ),
            modalities=self.modalities,
            dim=self.dim,
            repeats=self.repeats,
            threads=self.threads,
            peer_limit=self.peer_limit or workload.PEER_LIMITS[platform],
            peer_seconds=self.peer_seconds,
            memory_batches=self.memory_batches or workload.MEMORY_BATCHES[platform],
            resident_batch=self.resident_batch,
            accuracy_modalities=self.accuracy_modalities,
        )

    def _possible(self) -> tuple[Method, ...]:
        return tuple(method for method in TERMS if self._why_not(method) is None)

    def _why_not(self, method: Method) -> str | None:
        """Why a method is none for so many modalities."""
        try:
            objective(method).check_modalities(tuple(names(self.modalities)))
        except ValueError as error:
            return str(error)
        return None

    def _whole(self, batch: int) -> int:
        """About as many examples, as many on every device."""
        return max(1, batch // self.devices) * self.devices


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _each(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _words(value: object) -> str:
    return " ".join(map(str, _each(value)))

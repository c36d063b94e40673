"""`gramalign bench`: speed, memory and accuracy of the losses, beside the published code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import rich.console

from gramalign.benchmarks import device, report, workload
from gramalign.benchmarks.machine import in_words
from gramalign.benchmarks.plan import Part, Plan
from gramalign.benchmarks.steps import names, objective
from gramalign.benchmarks.tables import tables
from gramalign.benchmarks.workload import DType, Method, Way
from gramalign.cli.console import console
from gramalign.cli.figures import write_figures
from gramalign.contrast import Engine
from gramalign.contrast.engine import Implementation
from gramalign.contrast.exchange import Strategy
from gramalign.training.terms import TERMS

PARTS: tuple[Part, ...] = ("speed", "memory", "accuracy")


@dataclass(frozen=True)
class Bench:
    """Measure loss and gradient: how fast, in how much memory, how exact.

    Every row of the speed table is one method at one size, beside two others: the published code
    in torch, where it is installed and can compute on the same kind of device, and the bare
    matrix products, the floor under any implementation. Everything runs on the same numbers and
    takes turns, so that whatever else the machine does meets all alike. Prints tables and writes
    every figure to a JSON file. Ends with status 1 if gramalign and the published code computed
    different losses, a process took more memory than it may, or an interval held the truth too
    seldom.

    Examples: `gramalign bench`, `gramalign bench --only speed --methods gram --batches 4096
    --tiles 256 512 1024 2048`, `gramalign bench --platform cpu --devices 4 --batches 2048`.
    """

    only: Part | None = None
    """Measure one part; all of them by default, but for three. training: what the loop costs beside
    its compiled step, for how long a save stops it, how fast it is fed; 3 GB on disk for a while.
    retrieval: ranks beside sorting, and a gallery of 100 000 by volume; minutes on a CPU.
    statistics: how often intervals hold the truth and tests err, by simulation; two minutes."""
    methods: tuple[str, ...] = workload.PUBLISHED
    """Losses to measure: objectives that `gramalign methods` lists, or all of them that so many
    modalities allow. Published code stands beside gram, pmrl and clip."""
    batches: tuple[int, ...] | None = None
    """Batch sizes to time, for every method. If not given, those that suit the platform: on a CPU
    gram 2048 4096 8192, pmrl 256 1024 and others 2048; on a GPU or TPU up to 262144; each cut to a
    multiple of --devices."""
    dtypes: tuple[DType, ...] | None = None
    """Of the embeddings. If not given, float32 on a CPU, bfloat16 on a GPU or TPU."""
    modalities: int = 4
    """Modalities in a tuple, k; the first is the anchor."""
    dim: int = 512
    """Width of the embeddings, d."""
    tiles: tuple[int, ...] | None = None
    """Sizes of the score blocks to compare, the fastest is marked; the engine's own for this
    platform if not given. Compiled memory is read for the first."""
    devices: int = 1
    """Split the batch over so many devices, for the speed; on a CPU they are simulated."""
    strategies: tuple[Strategy, ...] | None = None
    """How the columns come to all of several devices: gather, ring; both if not given."""
    implementations: tuple[Implementation, ...] | None = None
    """What computes the tiles: xla or, on a TPU, the fused kernel pallas; all there are if not
    given."""
    platform: Literal["cpu", "cuda", "rocm", "tpu"] | None = None
    """Where to compute; the best that JAX finds if not given."""
    threads: int = 2
    """Of a CPU, for gramalign and for torch; of no account to a GPU or TPU."""
    repeats: int = 5
    """Rounds in which all sides take their turn; figures are medians over them."""
    peer_limit: int | None = None
    """Largest batch to try the published code with. If not given, 4096 on a CPU, where gram takes
    some 6 GiB there and four times that at twice the batch, and none on a GPU."""
    peer_seconds: int = 60
    """Longest call of the published code: it is left out where one takes longer, or would by what
    it takes of fewer examples."""
    peer_largest: bool = False
    """On a GPU: also double the published code's batch until it is out of memory or takes too long,
    and time both there."""
    memory_batches: tuple[int, ...] | None = None
    """Batch sizes for which memory is read off the compiled program; nothing is run. If not given,
    8192 to 32768 on a CPU, 65536 to 262144 on a GPU or TPU."""
    resident_batch: int = 8192
    """Batch size at which the memory of a fresh process is measured, on a CPU."""
    accuracy_modalities: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    """Sizes of the tuples whose volume is checked."""
    out: Path = Path("runs/bench.json")
    """JSON file for the figures, written anew; its folder is made."""

    def __post_init__(self):
        """Refuse what cannot be measured, by the option's name."""
        lowest = {"modalities": 2, "batches": 2, "memory_batches": 2, "accuracy_modalities": 2}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, tuple):
                if not value:
                    raise ValueError(f"{_option(name)}: wanted at least one, got none")
                if len(set(value)) < len(value):
                    raise ValueError(f"{_option(name)} names one twice: {_words(value)}")
            least = lowest.get(name, 1)
            numbers = [x for x in _each(value) if isinstance(x, int) and not isinstance(x, bool)]
            if any(number < least for number in numbers):
                raise ValueError(f"{_option(name)} must be at least {least}, got {_words(value)}")
        if unknown := [x for x in self.methods if x not in (*TERMS, "all")]:
            raise ValueError(
                f"--methods {unknown[0]} is no objective: take all, or of {', '.join(TERMS)}"
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
        if self.strategies and self.devices == 1:
            raise ValueError("--strategies are for several devices: give --devices as well")
        if self.devices > 1 and self.only not in (None, "speed"):
            raise ValueError(
                f"--devices {self.devices} is for the speed, and --only {self.only} measures one "
                "device: leave --devices out, or give --only speed"
            )

    def run(self) -> None:
        """Measure, print, write; end with status 1 if results are wrong."""
        plan = self.plan(device.start(self.platform, self.threads, self.devices))
        if self.out.is_dir():
            raise ValueError(f"--out is a JSON file to write, and {self.out} is a folder")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with progress(rich.console.Console(stderr=True, highlight=False)) as say:
            # Kept as it comes: it may take long, and end early.
            found = report.measure(plan, say, lambda found: write_figures(self.out, found))

        screen = console()
        screen.print(tables(found))
        screen.print(in_words(found["machine"]), soft_wrap=True)
        screen.print(f"Every figure: {self.out}", soft_wrap=True)
        if wrong := report.problems(found):
            sys.exit("\n".join(f"bench: {problem}" for problem in wrong))

    def plan(self, platform: str) -> Plan:
        """The options with the defaults of the platform that JAX computes on.

        Raises:
            ValueError: for a batch that does not divide over the devices, a search for the
            peer's largest batch without a GPU, or an implementation that is not for the platform.
        """
        if self.peer_largest and platform != "gpu":
            raise ValueError(
                "--peer-largest is for a GPU: on a CPU the process that runs out of memory ends"
            )
        own = workload.BATCHES[platform]
        methods = self._possible() if "all" in self.methods else self.methods
        batches: dict[Method, tuple[int, ...]] = {
            method: self.batches or tuple(map(self._whole, own.get(method, own["clip"])))
            for method in methods
        }
        if self.peer_largest and self.devices > 1:
            raise ValueError("--peer-largest is for one device: the peer computes on one GPU")
        for batch in self.batches or ():
            if batch % self.devices:
                raise ValueError(
                    f"--batches {batch} does not divide over --devices {self.devices}: "
                    f"take {self._whole(batch)}"
                )
        strategies = self.strategies or ("gather", "ring")
        possible = workload.IMPLEMENTATIONS[platform]
        for implementation in self.implementations or ():
            if implementation not in possible:
                raise ValueError(
                    f"--implementations {implementation} is not for a {platform}: "
                    f"wanted {_words(possible)}"
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
            peer_largest=self.peer_largest,
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


@contextmanager
def progress(screen: rich.console.Console) -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, and lines one after the other elsewhere."""
    if not screen.is_terminal:
        yield lambda text: screen.print(text, soft_wrap=True)
        return
    with screen.status("starting") as status:
        yield status.update


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _each(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _words(value: object) -> str:
    return " ".join(map(str, _each(value)))

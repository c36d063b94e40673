"""Speed, memory and accuracy beside the published code: the figures that the README quotes.

    python -m experiments.bench                          everything, some minutes on two cores
    python -m experiments.bench --only speed             one part
    python -m experiments.bench --out figures.json       where the figures are kept

Everything runs on the CPU: gramalign (JAX) and its peers (torch) in one process, with the same
number of threads, on the same embeddings, in turn. Where torch is not installed, gramalign's own
figures remain.
"""

import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import jax
import tyro
from rich.console import Console

from gramalign.training.environment import git_revision

from . import bench_accuracy, bench_memory, bench_speed
from .bench_speed import Workload
from .bench_steps import LOSSES
from .bench_tables import tables

RESIDENT_LIMIT = 2 * 2**30


@dataclass(frozen=True)
class Bench:
    """Measure gramalign's losses beside the published code, and its volume beside float64.

    Prints tables and writes every figure to a JSON file. Ends with status 1 if gramalign and a peer
    computed different losses, or a process took more memory than it may.
    """

    only: Literal["speed", "memory", "accuracy"] | None = None
    """Measure one part; all of them by default."""
    out: Path = Path("runs/bench.json")
    """JSON file for the figures, written anew; its folder is made."""
    repeats: int = 5
    """Rounds in which all sides take their turn; figures are medians over them."""
    threads: int = 2
    """CPU threads for either side."""
    modalities: int = 4
    """Modalities in a tuple, k; the first is the anchor."""
    dim: int = 512
    """Width of the embeddings, d."""
    gram_batches: tuple[int, ...] = (2048, 4096, 8192)
    """Batch sizes at which GRAM is timed."""
    peer_limit: int = 4096
    """Largest batch for GRAM's peer; at 4096 it takes some 6 GiB, at 8192 some 24."""
    pmrl_batches: tuple[int, ...] = (256, 1024)
    """Batch sizes at which PMRL is timed, its peer always among them."""
    memory_batches: tuple[int, ...] = (8192, 16384, 32768)
    """Batch sizes for which memory is read off the compiled program; nothing is run."""
    resident_batch: int = 8192
    """Batch size at which the memory of a fresh process is measured."""
    accuracy_modalities: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    """Sizes of the tuples whose volume is checked."""

    def __post_init__(self):
        for name in ("repeats", "threads", "dim", "peer_limit", "resident_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.modalities < 2:
            raise ValueError(f"modalities must be at least 2, got {self.modalities}")
        for name in ("gram_batches", "pmrl_batches", "memory_batches"):
            if any(batch < 2 for batch in getattr(self, name)):
                raise ValueError(f"{name} must be at least 2 each, got {getattr(self, name)}")
        # More vectors than dimensions have volume 0, to which no error is relative.
        if any(not 2 <= k <= self.dim for k in self.accuracy_modalities):
            raise ValueError(
                f"accuracy_modalities must be from 2 to dim ({self.dim}) each, "
                f"got {self.accuracy_modalities}"
            )

    def workloads(self) -> list[Workload]:
        """The rows of the speed table."""
        gram = [
            Workload("gram", batch, self.modalities, self.dim, peer=batch <= self.peer_limit)
            for batch in self.gram_batches
        ]
        return gram + [
            Workload("pmrl", batch, self.modalities, self.dim) for batch in self.pmrl_batches
        ]


def measure(config: Bench, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measures what the configuration asks for.

    Args:
        config: what to run.
        say: is told what happens, one line at a time.

    Returns:
        The report that goes into the JSON file.
    """
    report: dict[str, Any] = {"machine": machine(config.threads), "config": _plain(config)}
    if config.only in (None, "speed"):
        report["speed"] = [
            bench_speed.measure(
                workload, config.repeats, config.threads, lambda text: say(f"speed: {text}")
            ).record()
            for workload in config.workloads()
        ]
    if config.only in (None, "memory"):
        report["memory"] = _memory(config, lambda text: say(f"memory: {text}"))
    if config.only in (None, "accuracy"):
        report["accuracy"] = []
        for modalities in config.accuracy_modalities:
            say(f"accuracy: k = {modalities}")
            report["accuracy"] += [
                bench_accuracy.measure(modalities, config.dim, distance)
                for distance in bench_accuracy.DISTANCES
            ]
    return report


def _memory(config: Bench, say: Callable[[str], None]) -> dict[str, Any]:
    compiled = [
        bench_memory.growth(
            objective, tuple(sorted(config.memory_batches)), config.modalities, config.dim, say
        )
        for objective in LOSSES
    ]
    resident = []
    for objective in LOSSES:
        say(f"a fresh process for {objective}, B = {config.resident_batch}")
        row = bench_memory.resident(objective, config.resident_batch, config.modalities, config.dim)
        within = row["peak_bytes"] < RESIDENT_LIMIT
        resident.append({**row, "limit_bytes": RESIDENT_LIMIT, "within_limit": within})
    return {"compiled": compiled, "resident": resident}


def machine(threads: int) -> dict[str, Any]:
    """Where, when and with what the figures were made."""
    packages = ("gramalign", "jax", "jaxlib", "numpy", "torch")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "git": git_revision(Path(__file__)),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def problems(report: dict[str, Any]) -> list[str]:
    """What is wrong with the results, other than their being slow."""
    found = [
        f"{row['objective']} at B = {row['batch']}: the losses differ, {row['loss']} here and "
        f"{row['peer_loss']} in torch"
        for row in report.get("speed", [])
        if row["agree"] is False
    ]
    found += [
        f"{row['objective']} at B = {row['batch']} took {row['peak_bytes']} bytes, more than "
        f"{row['limit_bytes']}"
        for row in report.get("memory", {}).get("resident", [])
        if not row["within_limit"]
    ]
    return found


def use_threads(count: int) -> None:
    """Limits this process, and those it starts, to `count` threads of computation.

    To be called before JAX starts its CPU backend, which counts the cores only once.
    """
    os.environ["NPROC"] = str(count)
    if hasattr(os, "sched_setaffinity"):  # Linux: then no thread can run anywhere else either
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, and lines one after the other elsewhere."""
    if not console.is_terminal:
        yield lambda text: console.print(text, highlight=False)
        return
    with console.status("starting") as status:
        yield status.update


def main() -> None:
    config = tyro.cli(Bench, prog="python -m experiments.bench")
    use_threads(config.threads)
    jax.config.update("jax_platforms", "cpu")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with progress(Console(stderr=True)) as say:
        report = measure(config, say)
    config.out.write_text(json.dumps(report, indent=2) + "\n")

    console = Console()
    console.print(tables(report))
    where = report["machine"]
    console.print(
        f"{where['processor']}, {where['threads']} of {where['cpu_count']} CPUs, Python "
        f"{where['python']}, jax {where['versions']['jax']}, torch {where['versions']['torch']}",
        highlight=False,
    )
    console.print(f"Every figure: {config.out}", highlight=False, soft_wrap=True)
    if found := problems(report):
        sys.exit("\n".join(f"bench: {problem}" for problem in found))


def _plain(config: Bench) -> dict[str, Any]:
    return {**asdict(config), "out": str(config.out)}


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()

"""`gramalign plan`: what a run would take on a TPU slice or on GPUs, before they are there."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import rich.console
import rich.progress
import tyro
from jax.sharding import Mesh

from gramalign.cli.console import console, progress_on
from gramalign.cli.figures import write_figures
from gramalign.cli.options import Options
from gramalign.cli.plan_tables import (
    largest_line,
    memory_table,
    refused_table,
    title,
    verdict,
    work_table,
)
from gramalign.cli.targets import check_file
from gramalign.counted import counted
from gramalign.programs.chips import chip_of
from gramalign.programs.memory import OutOfMemory, available
from gramalign.programs.topology import devices_of
from gramalign.training.environment import environment
from gramalign.training.largest import CAP, Largest, Trial, largest_batch
from gramalign.training.layout import mesh_of, parts
from gramalign.training.plan import attempt, plan
from gramalign.training.rows import chosen_rows


@dataclass(frozen=True)
class Plan:
    """Compile a training step for TPUs or GPUs you need not have, and report what it takes.

    Prints memory per device, matrix products, collectives, whether communication can hide behind
    compute, and the largest batch that fits. Needs libtpu, or JAX's CUDA plugin, on Linux. Only the
    widths of the data matter, so a batch may have more rows than they do. Ends with status 1 if the
    batch does not fit.

    Example: `gramalign plan digits --topology v5e:4x4 --batch-size 4096`.
    """

    preset: tyro.conf.Positional[str] = "digits"
    """Preset to start from: a file of experiments/ (name or path); options below override it."""
    topology: str | None = None
    """TPU generation and slice layout, such as v5e:4x4, v5p:8x8x8 or v6e:16x16; or GPUs, such as
    h100:8 in one host or h200:4x8 in four."""
    largest: bool = True
    """Search for the largest batch that fits; each attempt compiles once."""
    attempts: int = 4
    """Most batches to try in that search."""
    cap: int = CAP
    """Largest batch to try in that search."""
    out: Path | None = None
    """JSON file for all figures."""
    config: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def run(self) -> None:
        """Compile, print, search, write."""
        if self.topology is None:
            raise ValueError("--topology: got none, expected one such as v5e:4x4 or h100:8")
        if self.config.steps == 0:
            raise ValueError(
                "steps is 0, expected at least 1: without one there is nothing to plan"
            )
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}, expected at least 1, or --no-largest")
        if self.cap < 1:
            raise ValueError(f"cap is {self.cap}, expected a batch of at least 1, or --no-largest")
        if self.out is not None:
            check_file("--out", self.out, "plan")
        screen = console()
        # Nothing is computed: a GPU that is there is left alone.
        jax.config.update("jax_platforms", "cpu")
        mesh = mesh_of(self.config.layout, devices_of(self.topology))
        chip = chip_of(mesh.devices.ravel().tolist())
        dims = chosen_rows(self.config)[0].dims
        limit = available(mesh) or chip.memory
        record: dict[str, Any] = {
            "topology": self.topology,
            "config": dataclasses.asdict(self.config),
            "dims": dims,
            "environment": environment(),
            "available": limit,
        }
        size = self.config.batch_size
        try:
            with _working(screen, f"batch of {size}"):
                found = plan(self.config, dims, mesh)
            first = Trial(size, True, found.memory.total)
            record |= {"plan": found.to_json(), "out_of_memory": None}
            screen.print(title(self.config, found, self.topology))
            for part in (memory_table(found, limit), work_table(found), verdict(found)):
                screen.print(part, "")
            if unread := sum(each.unread for each in found.collectives):
                screen.print(
                    f"groups of {counted(unread, 'collective')} could not be read: counted over "
                    "all devices",
                    "",
                )
        except OutOfMemory as refused:
            first = Trial(size, False, refused.needed)
            record |= {"plan": None, "out_of_memory": {"needed": refused.needed}}
            screen.print(refused_table(refused, self.config, self.topology, parts(mesh), limit))
        if self.largest:
            largest = self._search(screen, dims, mesh, first, limit)
            record |= {"largest": dataclasses.asdict(largest)}
            screen.print(largest_line(largest, limit))
        if self.out is not None:
            write_figures(self.out, record)
        if not first.fits:
            raise SystemExit(1)

    def _search(
        self,
        screen: rich.console.Console,
        dims: Mapping[str, int],
        mesh: Mesh,
        first: Trial,
        limit: int,
    ) -> Largest:
        def attempted(batch_size: int) -> Trial:
            with _working(screen, f"batch of {batch_size}"):
                return attempt(dataclasses.replace(self.config, batch_size=batch_size), dims, mesh)

        return largest_batch(
            attempted,
            first,
            available=limit,
            multiple=parts(mesh),
            cap=self.cap,
            attempts=self.attempts,
        )


@contextlib.contextmanager
def _working(screen: rich.console.Console, what: str) -> Iterator[None]:
    """Shows that a compilation is going on, and says how long it took."""
    start = time.monotonic()
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.TimeElapsedColumn(),
    )
    with progress_on(screen, *columns) as shown:
        shown.add_task(f"compiling for a {what}", total=None)
        yield
    screen.print(f"compiled for a {what} in {time.monotonic() - start:.0f} s", style="dim")

"""`gramalign stablehlo`: a run's towers as programs that need no gramalign."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from gramalign.cli.console import console
from gramalign.training import load_run
from gramalign.training.programs import write_programs


@dataclass(frozen=True)
class StableHLO:
    """Write a run's towers as programs that JAX runs without gramalign or code of yours.

    One file per modality, OUT/MODALITY.stablehlo, with the weights in it: float32 features
    `[batch, width]` in, unit rows out, on a CPU, NVIDIA GPU or TPU. In Python:
    `jax.export.deserialize(bytearray(open(FILE, "rb").read())).call(features)`. Example:
    `gramalign stablehlo runs/mine --out programs/`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    out: Path
    """Folder to write to; files of these names are replaced."""
    batch_size: int | None = None
    """The one number of rows that the programs take; None: they take any but 0."""

    def run(self) -> None:
        """Write."""
        run = load_run(self.run_folder)
        for path in write_programs(run, self.out, batch_size=self.batch_size).values():
            size = path.stat().st_size / 2**20
            console().print(f"wrote {path}: {size:.1f} MiB", soft_wrap=True)

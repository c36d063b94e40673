"""`gramalign export`: a finished run of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gramalign.cli.console import console
from gramalign.training import export


@dataclass(frozen=True)
class Export:
    """Make a finished run from a checkpoint of a run that was stopped or is still training.

    Every other command accepts the result; its params.safetensors is the model. The original run is
    only read, whatever devices it trains on. Example:
    `gramalign export runs/mine --checkpoint best --out runs/mine-best`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a run with checkpoints, or of one of 0 steps, which is copied."""
    out: Path
    """Folder to create."""
    checkpoint: Literal["latest", "best"] | int = "latest"
    """The newest, the best by the run's validation, or the one of this step."""

    def run(self) -> None:
        """Export."""
        run = export(self.run_folder, self.out, self.checkpoint)
        console().print(
            f"wrote {run.folder}: {self.run_folder} after step {run.step}", soft_wrap=True
        )

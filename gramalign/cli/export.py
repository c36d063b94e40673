"""`gramalign export`: a finished run of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gramalign.cli.console import console
from gramalign.training import export


@dataclass(frozen=True)
class Export:
    """Make a finished run of a checkpoint of one that was stopped, or that trains at this moment.

    Every other command takes what comes out; its params.safetensors is the model. The run that it
    comes from is only read, on whatever devices it trains. Example:
    `gramalign export runs/mine --checkpoint best --out runs/mine-best`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a run with checkpoints."""
    out: Path
    """Folder to make."""
    checkpoint: Literal["latest", "best"] | int = "latest"
    """The newest, the best by the run's own validation, or the one of this step."""

    def run(self) -> None:
        """Export."""
        run = export(self.run_folder, self.out, self.checkpoint)
        console().print(
            f"wrote {run.folder}: {self.run_folder} after step {run.step}", soft_wrap=True
        )

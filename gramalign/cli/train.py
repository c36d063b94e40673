"""`gramalign train`: a preset, or a folder of features, becomes a trained space."""

import logging
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import jax
import tyro

from gramalign.cli.console import console
from gramalign.cli.evaluate import evaluate_run
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.options import Options
from gramalign.data import load
from gramalign.data.expression import parse, short_name
from gramalign.training import Config, train
from gramalign.training.processes import Cluster, is_first_process, meet, together
from gramalign.training.run_data import measured_rows
from gramalign.training.run_folder import RunFolder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Train:
    """Train a space for the modalities of a feature store, then evaluate it.

    Examples: `gramalign train digits`, `gramalign train digits --objective "clip + gram"`,
    `gramalign train --data my_features/ --steps 3000 --out runs/mine`.

    A feature store is a folder of .npy files, an .npz or a .safetensors file with one [rows, dim]
    array per modality; ids, labels, groups, split and present.MODALITY are optional.
    """

    preset: tyro.conf.Positional[str] = "digits"
    """Preset to start from: a file of experiments/ (name or path); options below override it."""
    out: Path | None = None
    """Folder of the run; None: runs/PRESET, or with --data runs/DATA."""
    resume: bool = False
    """Continue from the last checkpoint in the run's folder, to the same bits; needs no option but
    --out RUN. With a preset or --data, where there is no run yet, begin one."""
    overwrite: bool = False
    """Delete an existing run in the folder first."""
    evaluation: bool = True
    """Evaluate on the test part after training."""
    profile: tuple[int, int] | None = None
    """First and last step to trace with jax.profiler, into profile/ in the run's folder; of several
    processes, each into a folder there."""
    cluster: Cluster = field(default_factory=Cluster)
    config: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def run(self) -> None:
        """Train, then evaluate."""
        self.cluster.enter()
        out = self.out or default_out(self.preset, self.config)
        with together():
            if self.evaluation:
                self._check_test_rows()  # better missed now than after training
        keep_programs()
        if self.resume and is_first_process() and not RunFolder(out).config.exists():
            _log.info("nothing to resume in %s: a new run", out)
        run = train(
            self.config, out, resume=self.resume, overwrite=self.overwrite, profile=self.profile
        )
        if jax.process_count() > 1:  # whose runtime has taken the signal, to save what now is saved
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if is_first_process():
            screen = console()
            validated = self.config.validation.every and self.config.steps
            best = f" (step {run.step} was best)" if validated else ""
            screen.print(f"trained: {out}{best}")
            if self.evaluation:
                evaluate_run(run, screen=screen)
        meet("evaluated")

    def _check_test_rows(self) -> None:
        store = load(self.config.data, on_bad_record=self.config.on_bad_record)
        measured_rows(store, "test", "give --no-evaluation")


def default_out(preset: str, config: Config) -> Path:
    """The folder of a run for which none was named."""
    if config.data == "digits":
        return Path("runs") / Path(preset).stem
    return Path("runs") / "+".join(map(short_name, parse(config.data)))

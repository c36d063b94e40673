"""The folder of a run: its files, and whether a run may start or resume in it."""

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gramalign.files import locked, make_folder, read_json, write_text
from gramalign.training.config import Config
from gramalign.training.config_json import config_from_dict, config_to_json, differences
from gramalign.training.environment import environment
from gramalign.training.params_file import read_about
from gramalign.training.writers import WANDB_ID, WRITERS


@dataclass(frozen=True)
class RunFolder:
    """Names of a run's files."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config; its presence marks the folder as a run's."""
        return self.root / "config.json"

    @property
    def environment(self) -> Path:
        """Versions, devices and git revision, an entry for each start."""
        return self.root / "environment.json"

    @property
    def metrics(self) -> Path:
        """The log, one JSON object a line."""
        return self.root / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        """The log of time and memory, which depend on the machine."""
        return self.root / "timing.jsonl"

    @property
    def matched(self) -> Path:
        """What was taken from the run that this one started from."""
        return self.root / "start_from.json"

    @property
    def fixed(self) -> Path:
        """What is not trained: statistics that standardise features, and frozen towers."""
        return self.root / "fixed.safetensors"

    @property
    def profile(self) -> Path:
        """What `jax.profiler` has written."""
        return self.root / "profile"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints by step, for resumption."""
        return self.root / "checkpoints"

    def steps(self) -> set[int]:
        """Those of the checkpoints that are there."""
        return {int(path.name) for path in self.checkpoints.glob("*") if path.name.isdigit()}

    @property
    def digests(self) -> Path:
        """Digests of the checkpoints' files, which reveal damage."""
        return self.root / "digests"

    def digest(self, step: int) -> Path:
        """The digests of one checkpoint."""
        return self.digests / f"{step}.json"

    @property
    def damaged(self) -> Path:
        """Checkpoints that were found damaged."""
        return self.root / "damaged"

    @property
    def params(self) -> Path:
        """The trained model; its presence marks the run as finished."""
        return self.root / "params.safetensors"

    @property
    def evaluation(self) -> Path:
        """Figures of the last evaluation."""
        return self.root / "evaluation.json"

    @property
    def ranks(self) -> Path:
        """The rank of each of its queries."""
        return self.root / "ranks.npz"

    @property
    def contribution(self) -> Path:
        """What each modality contributes, from the last evaluation that measured it."""
        return self.root / "contribution.json"

    @property
    def contribution_ranks(self) -> Path:
        """The rank of each of its queries."""
        return self.root / "contribution.npz"

    @property
    def robustness(self) -> Path:
        """Curves of the last robustness measurement."""
        return self.root / "robustness.json"

    @property
    def classification(self) -> Path:
        """Figures of the last classification."""
        return self.root / "classification.json"

    @property
    def report(self) -> Path:
        """The report on the run, one HTML page."""
        return self.root / "report.html"

    @property
    def predictions(self) -> Path:
        """The prediction for each classified row."""
        return self.root / "predictions.npz"

    @property
    def locked(self) -> Path:
        """What the process that trains here holds, with a word by which the others know it."""
        return self.root / "lock"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training in the folder until the block or the process ends.

        Raises:
            FileExistsError: another process is training there.
            NotADirectoryError: there is a file in its place.
        """
        make_folder(self.root)
        busy = f"another process is training in {self.root}: wait for it, or choose another folder"
        with locked(self.locked, busy):
            yield

    def state(self) -> Literal["finished", "running", "stopped"]:
        """Whether the run is finished, is being trained by a process, or neither."""
        if self.params.exists():
            return "finished"
        try:
            with open(self.locked) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        except FileNotFoundError:
            pass
        return "stopped"

    def claim(self, config: Config, *, resume: bool, overwrite: bool) -> None:
        """Prepares the folder for a run to start or resume.

        Args:
            config: the run.
            resume: resume the run in the folder, if there is one.
            overwrite: delete the run in the folder, if there is one, and nothing else.

        Raises:
            FileExistsError: there is a run, and neither option is set.
            ValueError: both options are set, or the run there has another config.
        """
        if resume and overwrite:
            raise ValueError("resume and overwrite contradict each other: give at most one")
        if self.config.exists() and not (resume or overwrite):
            raise FileExistsError(
                f"{self.root} already holds a run: give --resume to continue it, --overwrite to "
                "delete it, or choose another folder"
            )
        if overwrite:
            self._clear()
        if self.config.exists():
            before = self.saved_config()
            changed = differences(before, config, moved=self.trained_on() is not None)
            if changed:
                weights = str(self.root)
                if not self.params.exists():
                    weights = "what gramalign export makes of its last checkpoint"
                raise ValueError(
                    f"{self.root} holds a run with another config (run -> got): "
                    f"{'; '.join(changed)}. Leave these out to continue it as it was, or choose "
                    f"another folder; to use its weights there, give --start-from {weights}"
                )
        else:
            make_folder(self.root)
            write_text(self.config, config_to_json(config))

    def saved_config(self) -> Config:
        """The config of the run that is there.

        Raises:
            ValueError: the file is damaged, or holds what a config refuses.
        """
        content = read_json(self.config)
        try:
            return config_from_dict(content)
        except ValueError as error:
            raise ValueError(f"{self.config}: {error}") from error

    def trained_on(self) -> str | None:
        """The digest of a run's rows, by which data that have moved are known again.

        None: it has measured nothing yet, or was begun by a version that kept none.

        Raises:
            ValueError: the file that holds it is damaged.
        """
        return read_about(self.fixed).get("trained_on") if self.fixed.exists() else None

    def started_from(self) -> str | None:
        """The digest of the file of weights that a run began from.

        None: it has begun from none, or nothing yet, or with a version that kept no digest.

        Raises:
            ValueError: the file that holds it is damaged.
        """
        return read_about(self.fixed).get("started_from") if self.fixed.exists() else None

    def note_changes(self, config: Config) -> None:
        """Keeps what a resumption has changed, for the next; of a finished run, where data are."""
        if self.params.exists():
            config = dataclasses.replace(self.saved_config(), data=config.data)
        if (text := config_to_json(config)) != self.config.read_text("utf-8"):
            write_text(self.config, text)

    def starts(self) -> list[dict[str, Any]]:
        """The environment of each start.

        Raises:
            ValueError: the file is damaged.
        """
        starts = read_json(self.environment) if self.environment.exists() else []
        if not isinstance(starts, list):
            raise ValueError(f"{self.environment} is damaged, as it holds no list: remove it")
        return starts

    def note_start(self, step: int) -> None:
        """Adds the environment of a start at `step`."""
        starts = self.starts()
        starts.append({"step": step, **environment()})
        write_text(self.environment, json.dumps(starts, indent=2) + "\n")

    def _clear(self) -> None:
        # The config goes last: until all is gone, the folder still counts as a run's.
        folders = self.checkpoints, self.digests, self.damaged, self.profile
        for part in (*folders, *(self.root / name for name in WRITERS)):
            shutil.rmtree(part, ignore_errors=True)
        figures = self.evaluation, self.ranks, self.robustness
        figures += self.contribution, self.contribution_ranks
        figures += self.classification, self.predictions, self.report
        logs = self.metrics, self.timing, self.environment
        others = self.params, self.matched, self.fixed, self.root / WANDB_ID
        for file in (*others, *figures, *logs, self.config):
            file.unlink(missing_ok=True)

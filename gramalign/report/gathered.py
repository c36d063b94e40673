"""All that a report shows of one run, read from its folder; its rows are embedded again."""

import shlex
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gramalign.counted import counted
from gramalign.data import (
    FeatureStore,
    FeatureStoreError,
    digest,
    load,
    readable,
    same_rows,
)
from gramalign.evaluation import (
    Classification,
    EmbeddingSet,
    Evaluation,
    Robustness,
    checked,
)
from gramalign.evaluation.contribution import Contributions
from gramalign.evaluation.records import K, Kept, read_record
from gramalign.training import Config, Run
from gramalign.training.embedding import embed_store
from gramalign.training.metrics import Row, read_metrics
from gramalign.training.run_folder import RunFolder


@dataclass(frozen=True)
class Gathered:
    """The data of a run for a report; whatever its folder lacks is empty or None.

    Attributes:
        name: what the report calls it.
        config: of the run.
        step: number of updates of the model.
        commands: the commands that repeat its training and all measurements.
        starts: environment of each start of the run.
        metrics: rows of the log.
        timing: rows of the log of time and memory.
        data: the store it was evaluated on.
        part: the part of that store.
        evaluation: the figures.
        ranks: of each row as a query, by task, Score and whether it is the baseline's.
        rows: the rows it was evaluated on, with the run's modalities.
        embedded: their embeddings.
        robustness: what else was measured, and on which rows; and likewise the following.
    """

    name: str
    config: Config
    step: int
    commands: tuple[str, ...]
    starts: Sequence[Mapping[str, Any]]
    metrics: Sequence[Row]
    timing: Sequence[Row]
    data: str
    part: str
    evaluation: Evaluation
    ranks: Mapping[str, np.ndarray]
    rows: FeatureStore
    embedded: EmbeddingSet
    robustness: Kept[Robustness] | None = None
    classification: Kept[Classification] | None = None
    contribution: Kept[Contributions] | None = None


def gather(run: Run, name: str, command: str, again: Path) -> Gathered:
    """Reads a run's folder and embeds the rows that it was evaluated on.

    Args:
        run: a finished run that has been evaluated.
        name: what to call it.
        command: the command that trains it again, in another folder.
        again: that folder.

    Returns:
        The data of the run.

    Raises:
        FileNotFoundError: it has not been evaluated.
        ValueError: the store has changed since the evaluation, or is no longer there, or a file of
            the folder is damaged.
    """
    files = RunFolder(run.folder)
    if not files.evaluation.exists():
        raise FileNotFoundError(
            f"{run.folder} has no {files.evaluation.name}: run gramalign evaluate {run.folder}"
        )
    found = read_record(files.evaluation, Evaluation)
    evaluation, record = found.figures, found.content
    try:
        store = load(record["data"], on_bad_record=run.config.on_bad_record)
    except FeatureStoreError as error:
        error.add_note(
            f"That is what {run.folder} was evaluated on: from where it is now, "
            f"gramalign evaluate {run.folder} --data PATH"
        )
        raise
    rows = readable(store.part(record["part"])).only(evaluation.modalities)
    cure = _command("evaluate", run.folder, record)
    if len(rows) != evaluation.examples:
        raise ValueError(
            f"{record['data']} has {counted(len(rows), 'row')} in split {record['part']!r}, but "
            f"{files.evaluation} is of {evaluation.examples}: evaluate again with {cure}"
        )
    # Earlier versions did not record it.
    if "digest" in record and not same_rows(record["digest"], digest(rows)):
        raise ValueError(
            f"{record['data']} has changed since {files.evaluation} was measured: evaluate again "
            f"with {cure}"
        )
    ranks = _ranks(files.ranks)
    if ranks and not np.array_equal(ranks.pop("ids", np.empty(0)), rows.ids):
        raise ValueError(
            f"{files.ranks} is of other rows than {record['data']}: evaluate again with {cure}"
        )
    embeddings = embed_store(run, rows)
    robustness = _kept(files.robustness, Robustness)
    classification = _kept(files.classification, Classification)
    contribution = _kept(files.contribution, Contributions)
    measured = [_command("evaluate", again, record)]
    if contribution is not None:  # as a rule the same command's
        measured.append(_command("evaluate", again, contribution.content, "--contribution"))
    if robustness is not None:
        measured.append(_command("robustness", again, robustness.content))
    if classification is not None:
        measured.append(_command("classify", again, classification.content))
    return Gathered(
        name=name,
        config=run.config,
        step=run.step,
        commands=(command, *dict.fromkeys(measured)),
        starts=files.starts(),
        metrics=_log(files.metrics),
        timing=_log(files.timing),
        data=record["data"],
        part=record["part"],
        evaluation=evaluation,
        ranks=ranks,
        rows=rows,
        embedded=checked(embeddings, rows.present, rows.groups),
        robustness=robustness,
        classification=classification,
        contribution=contribution,
    )


def _command(name: str, folder: Path, record: Mapping[str, Any], *asked: str) -> str:
    """The command that measures the figures of a record again, in that folder.

    Records of earlier versions do not hold their options, so what was asked for is given.
    """
    options = record.get("options", ["--data", record["data"], "--part", record["part"], *asked])
    return shlex.join(["gramalign", name, str(folder), *options])


def _kept(path: Path, kind: type[K]) -> Kept[K] | None:
    return read_record(path, kind) if path.exists() else None


def _log(path: Path) -> list[Row]:
    return read_metrics(path) if path.exists() else []


def _ranks(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return dict(found)
    except (ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: evaluate again, or remove it") from error

"""All that a report shows of one run, read from its folder; its rows are embedded again."""

import dataclasses
import functools
import logging
import shlex
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gramalign.counted import counted
from gramalign.data import (
    FeatureStore,
    FeatureStoreError,
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
from gramalign.training.run_data import digest_of, weights_digest
from gramalign.training.run_folder import RunFolder

_log = logging.getLogger(__name__)


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
        robustness: under damage, and which rows were measured.
        classification: of labelled rows, and which these were.
        contribution: of each modality, and on which rows.
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
        ValueError: a store has changed since something was measured on it, that of the evaluation
            is no longer there, or a file of the folder is damaged.
    """
    files = RunFolder(run.folder)
    if not files.evaluation.exists():
        raise FileNotFoundError(
            f"{run.folder} has no {files.evaluation.name}: run gramalign evaluate {run.folder}"
        )
    found = read_record(files.evaluation, Evaluation)
    contribution = _kept(files.contribution, Contributions)
    robustness = _kept(files.robustness, Robustness)
    classification = _kept(files.classification, Classification)
    opened = functools.cache(functools.partial(load, on_bad_record=run.config.on_bad_record))
    try:
        opened(found.data)
    except FeatureStoreError as error:
        moved = _command(["evaluate"], run.folder, dataclasses.replace(found, data="PATH"))
        error.add_note(f"{files.evaluation} was measured on it: from where it is now, {moved}")
        raise

    @functools.cache
    def rows_now(data: str, part: str) -> FeatureStore:
        return readable(opened(data).part(part))

    measured, weights = [], weights_digest(run)
    for kept, path, *words in (
        (found, files.evaluation, "evaluate"),
        (contribution, files.contribution, "evaluate", "--contribution"),
        (robustness, files.robustness, "robustness"),
        (classification, files.classification, "classify"),
    ):
        if kept is not None:
            _check_rows(run, path, kept, words, opened, rows_now, weights)
            measured.append(_command(words, again, kept))
    evaluation, cure = found.figures, _command(["evaluate"], run.folder, found)
    rows = rows_now(found.data, found.part).only(evaluation.modalities)
    # Earlier versions recorded no digest, so only the number of rows can be compared.
    if len(rows) != evaluation.examples:
        raise ValueError(
            f"{found.data} has {counted(len(rows), 'row')} in split {found.part!r}, but "
            f"{files.evaluation} is of {evaluation.examples}: measure again with {cure}"
        )
    ranks = _ranks(files.ranks)
    if ranks and not np.array_equal(ranks.pop("ids", np.empty(0)), rows.ids):
        raise ValueError(
            f"{files.ranks} is of other rows than {found.data}: measure again with {cure}"
        )
    embeddings = embed_store(run, rows)
    return Gathered(
        name=name,
        config=run.config,
        step=run.step,
        commands=(command, *dict.fromkeys(measured)),
        starts=files.starts(),
        metrics=_logged(files.metrics),
        timing=_logged(files.timing),
        data=found.data,
        part=found.part,
        evaluation=evaluation,
        ranks=ranks,
        rows=rows,
        embedded=checked(embeddings, rows.present, rows.groups),
        robustness=robustness,
        classification=classification,
        contribution=contribution,
    )


def _check_rows(
    run: Run,
    path: Path,
    kept: Kept,
    words: Sequence[str],
    opened: Callable[[str], FeatureStore],
    rows_now: Callable[[str, str], FeatureStore],
    weights: str,
) -> None:
    """Refuses a record of another model, or of rows that have changed or that it learned from."""
    found = kept.content
    again = f"measure again with {_command(words, run.folder, kept)}, or remove {path}"
    if found.get("weights", weights) != weights:
        raise ValueError(f"{path} is of another model than {run.folder} holds now: {again}")
    of_parts = {kept.part: found.get("digest"), **found.get("learned_from", {})}
    digests = [(kept.data, part, told) for part, told in of_parts.items()]
    if "prompts_digest" in found:
        digests.append((found["prompts_from"], "all", found["prompts_digest"]))
    for data, part, told in digests:
        if told is None:  # earlier versions did not record it
            continue
        try:
            opened(data)
        except FeatureStoreError:
            _log.warning("%s cannot be opened, so %s is shown as it was measured", data, path)
            return
        try:
            same = same_rows(told, digest_of(run, rows_now(data, part)))
        except FeatureStoreError:  # it lacks this part
            same = False
        if not same:
            raise ValueError(f"{data} has changed since {path} was measured: {again}")


def _command(words: Sequence[str], folder: Path, kept: Kept) -> str:
    """The command that measures the figures of a record again, in that folder.

    Records of earlier versions do not hold their options, so what was asked for is given.
    """
    name, *asked = words
    options = [*kept.content.get("options", ["--data", "", "--part", kept.part, *asked])]
    options[options.index("--data") + 1] = kept.data
    return shlex.join(["gramalign", name, str(folder), *options])


def _kept(path: Path, kind: type[K]) -> Kept[K] | None:
    return read_record(path, kind) if path.exists() else None


def _logged(path: Path) -> list[Row]:
    return read_metrics(path) if path.exists() else []


def _ranks(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return dict(found)
    except (ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: measure again, or remove it") from error

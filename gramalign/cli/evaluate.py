"""`gramalign evaluate`: figures of a trained space, beside chance and a linear baseline."""

import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rich.console
import tyro

from gramalign.cli.again import options_of
from gramalign.cli.console import QUIET, console, stages_on
from gramalign.cli.figures import folder_for, write_with_rows
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.score_names import MATCHING, OneScoreOrFused, OneScoreOrMatching
from gramalign.counted import counted
from gramalign.data import FeatureStore, load, readable
from gramalign.evaluation import (
    FUSED,
    Evaluation,
    checked,
    contribution_table,
    contributions,
    fit_gcca,
    tables,
)
from gramalign.evaluation.contribution import Contributions
from gramalign.evaluation.records import read_record
from gramalign.evaluation.reranking import TOP, check_top
from gramalign.evaluation.retrieval import check_temperature
from gramalign.training import Run, embed_store, load_run
from gramalign.training.measure import check_fused, judge, measure, own_score
from gramalign.training.run_data import ANOTHER, data_of, measured_on, measured_rows, rows_of
from gramalign.training.run_folder import RunFolder
from gramalign.types import Say

_log = logging.getLogger(__name__)

Part = Literal["test", "validation", "train", "all"]


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained run: retrieval between all modalities, and the geometry of the space.

    Prints tables and writes evaluation.json and ranks.npz to the run's folder. ranks.npz holds ids
    and each example's ranks, for your own statistics, by names such as "text -> audio, cosine".
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str | None = None
    """Feature store to evaluate on; None: the one the run was trained on."""
    part: Part = "test"
    """Part of the store to use."""
    score: OneScoreOrFused = None
    """Score beside the cosine, with settings if any, as in 'volume(form="root")'; None: the
    objective's own."""
    baseline: bool = True
    """Fit a linear GCCA on the run's training rows, for comparison."""
    contribution: bool = False
    """Measure how much each modality helps to find every other: with and without it, tested over
    queries, or over groups where the store has them. By the cosine alone if the Score is fused,
    which would need new embeddings for every query. Writes contribution.json, and every query's
    rank to contribution.npz."""
    dual_softmax: float | None = None
    """Temperature, such as 0.05, of a dual softmax over all queries and the whole gallery; adds its
    figures beside the plain ones."""
    rerank: OneScoreOrMatching = None
    """Score to re-rank each query's best candidates by, or whole tuples by the head that the
    objective's term matching has trained; adds its figures beside the plain ones."""
    rerank_top: int | None = None
    """How many candidates to re-rank per query, with --rerank; None: 50."""
    out: Path | None = None
    """Folder to write to, say with --data; None: the run's own folder, for its report."""

    @property
    def top(self) -> int:
        """How many candidates to re-rank."""
        return TOP if self.rerank_top is None else self.rerank_top

    def run(self) -> None:
        """Evaluate and print."""
        check_temperature(self.dual_softmax, "--dual-softmax")
        if self.rerank_top is not None and self.rerank is None:
            raise ValueError("--rerank-top is for --rerank: leave it out, or add a Score")
        check_top(self.top, "--rerank-top")
        keep_programs()
        run = load_run(self.run_folder)
        folder_for(run.folder, self.out)
        if self.contribution:
            known = [name for name in data_of(run, self.data).modalities if name in run.dims]
            if len(known) < 3:
                raise ValueError(
                    f"--contribution: got {counted(len(known), 'modality')}, expected at least 3: "
                    "with 2, a query has only one, and there is nothing to leave out"
                )
        evaluate_run(run, self, screen=console())
        if self.contribution:
            self._contribution(run)

    def _contribution(self, run: Run) -> None:
        files = folder_for(run.folder, self.out)
        source = self.data or run.config.data
        rows = rows_of(run, self.data, self.part)
        score = self.score or own_score(run.config)
        embeddings = embed_store(run, rows)
        present = {name: rows.present[name] for name in embeddings}
        screen = console()
        if score == FUSED:
            screen.print("contribution by the cosine only: every query would have to be fused anew")
            score = "cosine"
        with stages_on(console(stderr=True)) as say:
            data = checked(embeddings, present, rows.groups)
            found = contributions(data, score, say=say)
        options = options_of(replace(self, data=source))
        record = {"data": source, "part": self.part, "options": options}
        record |= measured_on(run, rows) | Contributions(found).to_json()
        columns: dict[str, Any] = {"ids": rows.ids}
        for item in found:
            columns |= item.ranks()
        screen.print(contribution_table(found))
        write_with_rows(files.contribution, record, files.contribution_ranks, columns)
        wrote = f"wrote {files.contribution} and {files.contribution_ranks.name}"
        screen.print(wrote, soft_wrap=True)


def evaluate_run(
    run: Run,
    asked: Evaluate | None = None,
    *,
    screen: rich.console.Console = QUIET,
    brief: bool = False,
    say: Say | None = None,
) -> Evaluation:
    """Evaluate a run on one part of a store, print the tables and keep the figures beside it.

    Brief ones do not take the place of others.

    Args:
        run: the run.
        asked: of what, and how; None: what the command does without options.
        screen: where to print; unless it is quiet, stages go to stderr.
        brief: leave out what takes long and no summary shows: hubness, and retrieval by label.
        say: called with each stage, which then goes nowhere else.
    """
    otherwise = ANOTHER if asked else ""
    asked = asked or Evaluate(run.folder)
    files = folder_for(run.folder, asked.out)
    source = asked.data or run.config.data
    store = data_of(run, asked.data)
    rows = measured_rows(store, asked.part, otherwise)
    labels = rows.labels
    if brief or labels is None or len(np.unique(labels)) < 2:
        labels = None
    check_fused(run, store, asked.score)
    rerank = judge(run) if asked.rerank == MATCHING else asked.rerank

    def stages() -> contextlib.AbstractContextManager[Say]:
        shown = screen if screen.quiet else console(stderr=True)
        return stages_on(shown) if say is None else contextlib.nullcontext(say)

    linear = None
    if asked.baseline:
        known = [name for name in store.modalities if name in run.dims]
        try:
            with stages() as tell:
                tell("fitting the linear baseline")
                trained_on = store
                if asked.data:
                    trained_on = load(run.config.data, on_bad_record=run.config.on_bad_record)
                linear = linear_baseline(trained_on.only(known), rows)
        except (ValueError, OSError) as error:
            screen.print(f"no linear baseline: {error}")
    with stages() as tell:
        tell(f"embedding {counted(len(rows), 'row')} of {source}, {asked.part}")
        result = measure(
            run,
            rows,
            score=asked.score,
            baseline_embeddings=linear,
            neighbours=not brief,
            labels=labels,
            say=tell,
            dual_temperature=asked.dual_softmax,
            rerank_by=rerank,
            rerank_top=asked.top,
        )
    screen.print(tables(result))  # before what may fail, in a folder that is somebody else's
    if not brief or not is_evaluated(run):
        options = options_of(replace(asked, data=source))
        about = {"data": source, "part": asked.part, "options": options}
        about |= {"brief": brief, **measured_on(run, rows)}
        record = about | result.to_json()
        columns: dict[str, Any] = {"ids": rows.ids, **result.ranks()}
        write_with_rows(files.evaluation, record, files.ranks, columns)
        screen.print(f"wrote {files.evaluation} and {files.ranks.name}", soft_wrap=True)
    return result


def is_evaluated(run: Run) -> bool:
    """Whether the run's folder holds an evaluation, and not a brief one."""
    path = RunFolder(run.folder).evaluation
    return path.exists() and not read_record(path, Evaluation).content.get("brief", False)


_ENOUGH = 10**8  # numbers to fit to, which takes some 1 GB and 15 s
_FEWEST = 10_000  # rows to fit to, if there are so many: fewer would flatter the run
_LARGEST = 10**9  # numbers, whatever rows they are of


def linear_baseline(store: FeatureStore, rows: FeatureStore) -> dict[str, np.ndarray]:
    """Embeddings of `rows` by a linear GCCA that was fitted on the store's training part.

    Of a large store, it is fitted on as many complete rows, drawn at random, as hold `_ENOUGH`
    numbers, or `_FEWEST` if they are wide.

    Raises:
        ValueError: it cannot be fitted, or these are more than `_LARGEST` numbers.
    """
    train, rows = store.part("train"), rows.only(store.modalities)
    complete = np.flatnonzero(np.all([*train.present.values()], axis=0))
    width = sum(train.dims.values())
    most = max(_ENOUGH // width, _FEWEST)
    if min(most, len(complete)) * width > _LARGEST:
        raise ValueError(
            f"{counted(min(most, len(complete)), 'training row')} of {width} features are more "
            f"than the {_LARGEST:.0e} numbers it is computed for"
        )
    if len(complete) > most:
        every = len(complete)
        _log.info("fitting the linear baseline to %d of %d complete training rows", most, every)
        complete = np.sort(np.random.default_rng(0).choice(complete, most, replace=False))
    if 0 < len(complete) < len(train):
        train = train.take(complete)
    train = readable(train)
    fitted = fit_gcca(_arrays(train), train.present)
    starts = range(0, len(rows), rows.rows_at_once)
    parts = [rows.take(np.arange(len(rows))[x : x + rows.rows_at_once]) for x in starts]
    embedded = [fitted.embed(_arrays(part), part.present) for part in parts]
    return {name: np.concatenate([part[name] for part in embedded]) for name in rows.modalities}


def _arrays(store: FeatureStore) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in store.features.items()}

"""`gramalign classify`: how well a trained space tells classes apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rich.console
import tyro

from gramalign.cli.compiled import compiled_in
from gramalign.cli.console import QUIET, console
from gramalign.cli.figures import write_with_rows
from gramalign.cli.score_names import FusedOrScoreName
from gramalign.data import load
from gramalign.evaluation import Classification, classification_table, classify
from gramalign.training import Run, load_run
from gramalign.training.measure import embed_labelled, embed_prompts, labels_of, own_score
from gramalign.training.run_folder import RunFolder


@dataclass(frozen=True)
class Classify:
    """Classify the rows of a labelled store by a trained run.

    By prompts (each class an anchor, ranked by a Score against the tuple of the other modalities),
    by linear probes and by nearest neighbours. Classes are the store's labels; what has to learn
    them learns from its training rows.

    Prints a table and writes classification.json into the run's folder, and predictions.npz: for
    each row what is predicted and the rank of its own class, beside the ids and labels.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str | None = None
    """Another feature store, its training rows included; the one it was trained on if not given."""
    part: Literal["test", "validation"] = "test"
    """Which rows of the store are classified."""
    score: FusedOrScoreName | None = None
    """Score that ranks prompts beside the cosine; the objective's own if not given."""
    prompts: str | None = None
    """The modality of the prompts; each in turn if not given. They are made of training rows: the
    mean direction of each class."""
    prompts_from: str | None = None
    """A feature store whose rows are the prompts, one or several for each class, its label; with
    --prompts. This is zero-shot: the prompts have seen no training row."""

    def run(self) -> None:
        """Classify and print."""
        compiled_in(self.run_folder / "compiled")
        classify_run(
            load_run(self.run_folder),
            data=self.data,
            part=self.part,
            score=self.score,
            prompts=self.prompts,
            prompts_from=self.prompts_from,
            screen=console(),
        )


def classify_run(
    run: Run,
    *,
    data: str | None = None,
    part: str = "test",
    score: FusedOrScoreName | None = None,
    prompts: str | None = None,
    prompts_from: str | None = None,
    screen: rich.console.Console = QUIET,
) -> Classification:
    """Classify one part of a store by a run, print the table and keep the figures beside it."""
    if prompts_from is not None and prompts is None:
        raise ValueError(
            f"--prompts-from is {prompts_from}, but not which modality of it: wanted --prompts too,"
            f" one of {', '.join(run.dims)}"
        )
    store = load(data or run.config.data)
    labels_of(store)
    score = score or own_score(run.config)
    given = None
    if prompts is not None and prompts_from is not None:
        given = embed_prompts(run, load(prompts_from), prompts)
    rows = store.part(part)
    # Rows that are measured choose nothing.
    choosing = part != "validation" and store.split is not None and "validation" in store.split
    with screen.status("embedding") as status:
        known, asked = (embed_labelled(run, x, score=score) for x in (store.part("train"), rows))
        validation = store.part("validation") if choosing else None
        if validation is not None:
            validation = embed_labelled(run, validation, score=score)
        status.update(f"classifying {len(rows)} rows")
        result = classify(
            known, asked, score=score, validation=validation, prompts=given or prompts
        )
    files = RunFolder(run.folder)
    about = {"data": data or run.config.data, "part": part, "prompts_from": prompts_from}
    columns: dict[str, Any] = {"ids": rows.ids, "labels": rows.labels, **result.predictions()}
    record = {**about, **result.to_json()}
    write_with_rows(files.classification, record, files.predictions, columns)
    screen.print(classification_table(result))
    return result

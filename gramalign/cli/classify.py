"""`gramalign classify`: how well a trained space tells classes apart."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from gramalign.cli.again import options_of
from gramalign.cli.console import console, stages_on
from gramalign.cli.figures import folder_for, write_with_rows
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.media import Words, by_name
from gramalign.cli.media_query import named_classes
from gramalign.cli.score_names import OneScoreOrFused
from gramalign.counted import counted
from gramalign.data import readable
from gramalign.evaluation import classification_table, classify
from gramalign.training import load_run
from gramalign.training.measure import (
    check_fused,
    embed_labelled,
    embed_prompts,
    labels_of,
    own_score,
)
from gramalign.training.run_data import ANOTHER, data_of, digest_of, measured_on, measured_rows


@dataclass(frozen=True)
class Classify:
    """Classify the rows of a labelled store with a trained run.

    By prompts (each class an anchor, ranked by a Score against the tuple of the other modalities),
    by linear probes and by nearest neighbours. Classes are the store's labels, learned from its
    training rows.

    Prints a table and writes classification.json and predictions.npz to the run's folder.
    predictions.npz holds each row's id, label, predicted classes and its own class's ranks.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str | None = None
    """Feature store, with training rows; None: the one the run was trained on."""
    part: Literal["test", "validation"] = "test"
    """Part of the store to classify."""
    score: OneScoreOrFused = None
    """Score that ranks prompts beside the cosine; None: the objective's own."""
    prompts: str | None = None
    """Modality of the prompts; None: each in turn. A prompt is the mean direction of a class's
    training rows."""
    prompts_from: str | None = None
    """Feature store of prompts, one or more rows per class, labelled; needs --prompts. This is
    zero-shot: prompts have seen no training row."""
    templates: tuple[str, ...] = ()
    """Texts with {} for the name of a class, such as "a photo of a {}", as prompts of every label;
    needs --prompts, of texts that `gramalign features` encoded. Zero-shot, too."""
    encoders: Words = ()
    """For --templates, the folder of the encoder that made the store's texts, as MODALITY=FOLDER;
    of a tower that is a pretrained encoder, its own folder if not given."""
    out: Path | None = None
    """Folder to write to, say with --data; None: the run's own folder, for its report."""

    def run(self) -> None:
        """Classify, print the table and keep the figures beside the run."""
        keep_programs()
        run, screen = load_run(self.run_folder), console()
        files = folder_for(run.folder, self.out)
        self._check_prompts(tuple(run.dims))
        source, score = self.data or run.config.data, self.score or own_score(run.config)
        store = data_of(run, self.data)
        labels_of(store)
        check_fused(run, store, self.score)
        options = options_of(dataclasses.replace(self, data=source))
        record: dict[str, Any] = {"data": source, "part": self.part, "options": options}
        record["prompts_from"] = self.prompts_from
        given = None
        if self.prompts is not None and self.prompts_from is not None:
            prompts = readable(data_of(run, self.prompts_from))
            given = embed_prompts(run, prompts, self.prompts)
            record["prompts_digest"] = digest_of(run, prompts)
        if self.prompts is not None and self.templates:
            encoders = by_name("--encoders", self.encoders, "MODALITY=FOLDER")
            named = named_classes(run, store, self.templates, self.prompts, encoders, source)
            given = embed_prompts(run, named, self.prompts)
        rows = measured_rows(store, self.part, ANOTHER)
        learned = {"train": readable(store.part("train"))}
        # Rows that are measured choose nothing.
        if self.part != "validation" and store.split is not None and "validation" in store.split:
            learned["validation"] = readable(store.part("validation"))
        with stages_on(console(stderr=True)) as say:
            say("embedding")
            asked = embed_labelled(run, rows, score=score)
            known = {part: embed_labelled(run, x, score=score) for part, x in learned.items()}
            say(f"classifying {counted(len(rows), 'row')}")
            result = classify(
                known["train"],
                asked,
                score=score,
                validation=known.get("validation"),
                prompts=given or self.prompts,
            )
        record |= measured_on(run, rows)
        record["learned_from"] = {part: digest_of(run, x) for part, x in learned.items()}
        record |= result.to_json()
        columns: dict[str, Any] = {"ids": rows.ids, "labels": rows.labels, **result.predictions()}
        screen.print(classification_table(result))
        write_with_rows(files.classification, record, files.predictions, columns)
        screen.print(f"wrote {files.classification} and {files.predictions.name}", soft_wrap=True)

    def _check_prompts(self, modalities: tuple[str, ...]) -> None:
        given = {"--prompts-from": self.prompts_from, "--templates": self.templates}
        given = {option: value for option, value in given.items() if value}
        if self.prompts is not None and self.prompts not in modalities:
            raise ValueError(
                f"--prompts is {self.prompts!r}, expected one of {', '.join(modalities)}"
            )
        if len(given) > 1:
            raise ValueError("got --prompts-from and --templates, expected one of them")
        for option in given:
            if self.prompts is None:
                raise ValueError(
                    f"{option} is given, but its modality is not: add --prompts, one of "
                    f"{', '.join(modalities)}"
                )
        if self.encoders and not self.templates:
            raise ValueError("--encoders are for --templates: leave them out, or add some")

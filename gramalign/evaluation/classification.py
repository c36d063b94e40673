"""One call that classifies embeddings with every classifier, and the record it returns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from gramalign.counted import counted
from gramalign.evaluation.class_figures import ClassFigures
from gramalign.evaluation.labelled import Labelled, spelt
from gramalign.evaluation.neighbours import nearest_neighbours
from gramalign.evaluation.probe import linear_probe
from gramalign.evaluation.prompts import Prompts, classify_by_prompts, prompts_of
from gramalign.evaluation.records import Record
from gramalign.evaluation.retrieval import with_cosine
from gramalign.scores import ScoreLike, name_of


@dataclass(frozen=True)
class Classification(Record):
    """All figures of classifying one set of test rows.

    Attributes:
        score: the run's Score; prompts are ranked by it and by the cosine.
        modalities: names, in the order given.
        train_rows: number of labelled training rows.
        test_rows: number of test rows, whatever modalities they have.
        zero_shot: whether prompts were given, and not made from training rows.
        prompts: classes ranked by prompts.
        probe: linear probes of each modality, then of all together.
        neighbours: nearest neighbours in each modality, then in all together.
    """

    score: str
    modalities: tuple[str, ...]
    train_rows: int
    test_rows: int
    zero_shot: bool
    prompts: tuple[ClassFigures, ...]
    probe: tuple[ClassFigures, ...]
    neighbours: tuple[ClassFigures, ...]

    @property
    def all(self) -> tuple[ClassFigures, ...]:
        """The figures of every classifier."""
        return self.prompts + self.probe + self.neighbours

    def predictions(self) -> dict[str, Shaped[np.ndarray, " examples"]]:
        """Rank of each test row's own class, 0 where the row does not count, and its prediction.

        Keys are such as `rank, probe, text` and `predicted, probe, text`.
        """
        columns = {}
        for figures in self.all:
            if figures.ranks is not None and figures.predicted is not None:
                columns[f"rank, {figures.name}"] = figures.ranks
                columns[f"predicted, {figures.name}"] = figures.predicted
        return columns


def classify(
    train: Labelled,
    test: Labelled,
    *,
    score: ScoreLike,
    validation: Labelled | None = None,
    prompts: Prompts | str | None = None,
) -> Classification:
    """Classify test rows by prompts, by linear probes and by nearest neighbours.

    Args:
        train: labelled rows to fit probes on, find neighbours among and make prompts from.
        test: labelled rows of the same modalities.
        score: the Score the embeddings were trained for, as in `evaluate`; prompts rank by the
            cosine too.
        validation: rows to choose the probes' regularisation by; see `linear_probe`.
        prompts: prompts of every class; or the modality whose training rows to make them from;
            None: each modality in turn, against the tuple of all others.

    Returns:
        The figures.

    Raises:
        ValueError: modalities that differ between the parts, an unknown score or modality, training
            rows of a single class, or test rows of a class that training or the given prompts do
            not have.
    """
    names = test.modalities
    for argument, part in {"train": train, "validation": validation}.items():
        if part is not None and set(part.modalities) != set(names):
            raise ValueError(
                f"{argument}: got {', '.join(part.modalities)}, but test has {', '.join(names)}; "
                "embed the same modalities of both"
            )
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise ValueError(
            f"train: got {counted(len(train), 'row')} of one class, {classes[0]}, expected at "
            "least two classes; check the labels, or split the rows differently"
        )
    _check_known(test, classes, "no training row has", "move some of their rows to training")
    given = isinstance(prompts, Prompts)
    if isinstance(prompts, Prompts):
        _check_known(test, prompts.classes, "have no prompt", "give each a prompt")
        made: dict[str, Prompts | None] = {prompts.modality: prompts}
    else:
        wanted = names if prompts is None else (prompts,)
        if not set(wanted) <= set(names):
            raise ValueError(f"prompts: got {prompts!r}, expected one of {', '.join(names)}")
        # One modality alone has nothing to be prompted with, unless someone asks for it.
        alone = prompts is None and len(names) == 1
        made = {} if alone else {name: prompts_of(train, name) for name in wanted}
    subsets = [(name,) for name in names] + ([names] if len(names) > 1 else [])
    return Classification(
        score=name_of(score),
        modalities=names,
        train_rows=len(train),
        test_rows=len(test),
        zero_shot=given,
        prompts=tuple(
            classify_by_prompts(test, each, score=by, modality=name, majority=train.most_frequent)
            for by in with_cosine(score)
            for name, each in made.items()
        ),
        probe=tuple(linear_probe(train, test, some, validation=validation) for some in subsets),
        neighbours=tuple(nearest_neighbours(train, test, some) for some in subsets),
    )


def _check_known(test: Labelled, classes: np.ndarray, lack: str, cure: str) -> None:
    foreign = ~np.isin(test.labels, classes)
    if foreign.any():
        named = spelt(np.unique(test.labels[foreign]))
        raise ValueError(
            f"test: {foreign.sum()} of {len(test)} rows are of classes that {lack}: {named}; {cure}"
            ", or leave these test rows out"
        )

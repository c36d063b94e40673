"""Evaluates a run's model on rows of a store: how well modalities agree, and classes."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from gramalign.data import FeatureStore
from gramalign.evaluation import (
    FUSED,
    Evaluation,
    Judge,
    Labelled,
    Prompts,
    class_prompts,
    evaluate,
    labelled,
)
from gramalign.losses import fused_rest
from gramalign.training.config import Config
from gramalign.training.embedding import embed_store
from gramalign.training.restore import Run


def own_score(config: Config) -> str:
    """The Score that an objective trains: that of its first term whose Score is not the cosine.

    With that term's settings, except for HyperGRAM, where it is the hyperbolic part alone.
    """
    scores = [term.score for term in config.terms.values()]
    return next((score for score in scores if score != "cosine"), "cosine")


def measure(
    run: Run, rows: FeatureStore, *, score: str | None = None, **options: Any
) -> Evaluation:
    """Embeds rows and evaluates them.

    Args:
        run: the run.
        rows: with any of its modalities; others are left out.
        score: the Score to use beside the cosine; None: the objective's own.
        options: further arguments of `evaluate`, such as `baseline_embeddings` of the same rows.

    Raises:
        ValueError: as `embed_store` and `evaluate`.
    """
    score = score or own_score(run.config)
    embeddings = embed_store(run, rows)
    return evaluate(
        embeddings,
        {name: rows.present[name] for name in embeddings},
        score=score,
        groups=rows.groups,
        fused=_fused_rests(run, rows, score),
        **options,
    )


def judge(run: Run) -> Judge:
    """The head that the objective's term `matching` has trained, as a re-ranker of tuples.

    Raises:
        ValueError: the objective has no such term.
    """
    if run.judge is None:
        raise ValueError(
            f"{run.folder} has no head that could re-rank: train one with --objective "
            f'"{run.config.objective} + 0.1*matching"'
        )
    return Judge("matching", run.judge)


def check_fused(run: Run, rows: FeatureStore, score: str | None) -> None:
    """Refuses `FUSED` before rows are embedded, if the run fuses none of them.

    Raises:
        ValueError: there are more than two modalities, and the objective has no term `vast`.
    """
    number = sum(name in run.dims for name in rows.modalities)
    if score == FUSED and "vast" not in run.fusing and number > 2:
        raise ValueError(
            f"score: got {FUSED!r}, but {run.folder} fuses nothing: train it with --objective "
            f'"{run.config.objective} + 0.1*vast", or choose another'
        )


def embed_labelled(run: Run, rows: FeatureStore, *, score: str) -> Labelled:
    """Embeds rows of a store that has labels.

    Args:
        run: the run.
        rows: with any of its modalities; others are left out.
        score: the Score that will classify them.

    Raises:
        ValueError: no labels, or as `embed_store`.
    """
    labels = labels_of(rows)
    embeddings = embed_store(run, rows)
    return labelled(
        embeddings,
        labels,
        {name: rows.present[name] for name in embeddings},
        rows.groups,
        _fused_rests(run, rows, score),
    )


def embed_prompts(run: Run, prompts: FeatureStore, modality: str) -> Prompts:
    """Embeds prompts, each a row of a store with its class as label.

    Args:
        run: the run.
        prompts: the store; its rows with the modality are the prompts.
        modality: of the prompts.

    Raises:
        ValueError: no labels, no such modality, no row with it, or as `embed_store`.
    """
    labels = labels_of(prompts)
    there = prompts.only([modality]).present[modality]
    embeddings = embed_store(run, prompts.only([modality]))[modality]
    return class_prompts(modality, embeddings[there], labels[there])


def labels_of(rows: FeatureStore) -> Shaped[np.ndarray, " n"]:
    """The class of each row.

    Raises:
        ValueError: the store has no labels.
    """
    if rows.labels is None:
        raise ValueError(
            f"{rows.source} has no labels, so there are no classes: give it an array 'labels', the "
            "class of each row"
        )
    return rows.labels


def _fused_rests(run: Run, rows: FeatureStore, score: str) -> dict[str, np.ndarray] | None:
    """What VAST's heads fuse all modalities but one to, by the name of that one, for its Score."""
    if score != FUSED or "vast" not in run.fusing:
        return None
    made = embed_store(run, rows, fused="vast")
    names = {one: fused_rest(run.dims, one) for one in run.dims}
    return {one: made[name] for one, name in names.items() if one in made and name in made}

"""Runs as a report sees them, made up without training."""

import math

import numpy as np

from gramalign.data import from_arrays
from gramalign.evaluation import Diagnostics, Evaluation, Retrieval, TupleFigure, checked
from gramalign.evaluation.retrieval import tasks
from gramalign.report import Gathered
from gramalign.training import Config

THREE = ("text", "photo", "sound")


def result(query, gallery, score, ranks, candidates):
    """Figures of a task whose matches have these ranks."""
    recall = {k: 100 * float(np.mean(ranks <= k)) for k in (1, 5, 10)}
    chance = {k: 100 * k / candidates for k in (1, 5, 10)}
    of_ranks = float(np.median(ranks)), float(np.mean(ranks)), float(np.mean(1 / ranks))
    sides = (query, gallery, score, len(ranks), float(candidates))
    return Retrieval(*sides, recall, chance, *of_ranks, ranks)


def twenty(query, gallery):
    """Queries and candidates of a task."""
    return 20, 20


def made(
    name,
    *,
    modalities=THREE,
    objective="gram",
    score="volume",
    data="a.npz",
    part="test",
    rank=1,
    counts=twenty,
    metrics=(),
):
    """A run whose queries all find their match at one rank, with this log."""
    found = []
    for both in tasks(modalities, "", lambda text: None):
        for query, gallery in (both, both[::-1]):
            queries, candidates = counts(query, gallery)
            ranks = np.full(queries, rank)
            for under in dict.fromkeys((score, "cosine")):
                found.append(result(query, gallery, under, ranks, candidates))
    unknown = TupleFigure(math.nan, math.nan)
    diagnostics = Diagnostics(0, unknown, unknown, {}, ())
    ones = {name: np.ones((2, 2), np.float32) for name in modalities}
    return Gathered(
        name=name,
        config=Config(objective=objective, steps=30),
        step=30,
        commands=(),
        starts=[],
        metrics=metrics,
        timing=[],
        data=data,
        part=part,
        evaluation=Evaluation(score, modalities, 20, tuple(found), (), diagnostics),
        ranks={x.name: x.ranks for x in found},
        rows=from_arrays(ones),
        embedded=checked(ones),
    )

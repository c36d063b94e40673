"""Retrieval's tasks, sorted into kinds: pairs, one modality -> the rest, the rest -> one."""

from collections.abc import Iterator

from gramalign.evaluation import Evaluation, Relevance, Retrieval

PAIRS, ONE, REST = "pairs", "one → rest", "rest → one"


def kinds(evaluation: Evaluation) -> tuple[str, ...]:
    """The kinds of tasks; with two modalities, a tuple is a pair."""
    return (PAIRS, ONE, REST) if len(evaluation.modalities) > 2 else (PAIRS,)


def tasks(
    evaluation: Evaluation, kind: str, score: str, *, baseline: bool = False
) -> Iterator[Retrieval]:
    """Results of one kind under one Score, without those that have no query."""
    for result in evaluation.baseline if baseline else evaluation.retrieval:
        if kind_of(result) == kind and result.score == score and result.queries:
            yield result


def kind_of(result: Retrieval | Relevance) -> str:
    """The kind that a result belongs to."""
    sides = len(result.query), len(result.gallery)
    return PAIRS if sides == (1, 1) else ONE if sides[0] == 1 else REST


def scores(evaluation: Evaluation) -> tuple[str, ...]:
    """The run's Score and the cosine, which may be the same."""
    return tuple(dict.fromkeys((evaluation.score, "cosine")))

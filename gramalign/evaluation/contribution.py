"""What each modality contributes to finding another, and whether all find more than the best one.

For every modality as the target, rest -> target is measured with all others in the query, with each
of them left out, and with each of them alone. The gallery is always the same. Two kinds of query
are compared over the examples that are queries of both, so missing modalities do not matter. The
best single modality is the one that finds most of all queries, including those that lack it.

A modality's contribution is how much more is found with it than without it; the aggregation gain is
how much more all modalities find together than the best single one. Either may be negative: a joint
Score can be worse than its best part. The best one is chosen by the same figures, which can only
understate the gain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.records import Record
from gramalign.evaluation.retrieval import (
    Retrieval,
    all_but,
    check_score,
    retrieve_both_ways,
    with_cosine,
)
from gramalign.evaluation.significance import sign_flip_test
from gramalign.evaluation.units import unit_shares
from gramalign.scores import ScoreLike, name_of
from gramalign.types import Say


@dataclass(frozen=True)
class Difference:
    """R@1 of one kind of query less that of another, over the examples that are queries of both.

    Attributes:
        queries: number of these examples.
        points: the difference in points of R@1; NaN without a query.
        better: number that the first finds at rank 1 and the second does not.
        worse: number for which the reverse is true.
        p_value: under no difference, two-sided; 1 if `better` and `worse` are 0. Over queries it is
            of McNemar's exact test; over groups, of a `sign_flip_test` of their sums.
        by_group: whether `p_value` is over groups of queries, which are not independent.
    """

    queries: int
    points: float
    better: int
    worse: int
    p_value: float
    by_group: bool = False


def difference(
    ranks: Int[np.ndarray, " examples"],
    other: Int[np.ndarray, " examples"],
    groups: Shaped[np.ndarray, " _examples"] | None = None,
) -> Difference:
    """Compares two rankings query by query.

    Args:
        ranks: rank of each example's match, 1 is best, 0 where the example is not a query.
        other: the same for the other kind of query.
        groups: of the examples; those of one group, such as captions of one video, are not
            independent. None: all are.

    Returns:
        How much more the first finds at rank 1.

    Raises:
        ValueError: different numbers of examples, or groups as in `numbered`.

    >>> difference(np.array([1, 1, 2, 0]), np.array([1, 3, 2, 1])).points.__round__(1)
    33.3
    """
    if ranks.shape != other.shape:
        raise ValueError(
            f"ranks and other: got {ranks.shape} and {other.shape}, expected one shape"
        )
    both = (ranks > 0) & (other > 0)
    better = int(np.sum(both & (ranks == 1) & (other != 1)))
    worse = int(np.sum(both & (ranks != 1) & (other == 1)))
    queries = int(both.sum())
    p_value = 1.0
    if queries:
        more = np.where(both, (ranks == 1) - (other == 1).astype(float), np.nan)
        p_value = sign_flip_test(unit_shares(more[None], groups))
    return Difference(
        queries=queries,
        points=100 * (better - worse) / queries if queries else float("nan"),
        better=better,
        worse=worse,
        p_value=p_value,
        by_group=groups is not None,
    )


@dataclass(frozen=True)
class Contribution(Record):
    """How one modality is found by the others, under one Score.

    Attributes:
        score: the Score.
        target: the modality to find.
        joint: the query of all others together.
        without: the query without one modality, by its name.
        alone: the query of one modality, by its name.
        worth: by modality, the joint query less the query without it.
        best: the modality that alone finds the most queries; of several, the first.
        gain: the joint query less the best one alone.
    """

    score: str
    target: str
    joint: Retrieval
    without: Mapping[str, Retrieval]
    alone: Mapping[str, Retrieval]
    worth: Mapping[str, Difference]
    best: str
    gain: Difference

    def ranks(self) -> dict[str, Int[np.ndarray, " examples"]]:
        """For every example as a query, the rank of its match; 0 where it is not a query.

        Keys are such as `text+audio -> video, cosine`.
        """
        results = (self.joint, *self.without.values(), *self.alone.values())
        return {x.name: x.ranks for x in results if x.ranks is not None}


@dataclass(frozen=True)
class Contributions(Record):
    """All that `contributions` has found, for a record."""

    targets: tuple[Contribution, ...]


def contributions(
    data: EmbeddingSet, score: ScoreLike, *, say: Say = lambda text: None
) -> tuple[Contribution, ...]:
    """Measure what every modality contributes to finding every other.

    Costs k (2 k - 1) retrievals per Score for k modalities, about twice as many as `evaluate`.

    Args:
        data: checked embeddings of three modalities or more.
        score: one of `SCORE_NAMES`, or a class of Scores, measured beside the cosine.
        say: called with what is measured next.

    Returns:
        A result for every target under that Score, then under the cosine.

    Raises:
        ValueError: an unknown score, or fewer than three modalities.
    """
    check_score(score)
    if len(data.modalities) < 3:
        raise ValueError(
            f"embeddings: got {' and '.join(data.modalities)}, expected at least 3 modalities: "
            "with 2, a query has only one, and there is nothing to leave out"
        )
    return tuple(
        _of_target(data, target, each, say)
        for each in with_cosine(score)
        for target in data.modalities
    )


def _of_target(data: EmbeddingSet, target: str, score: ScoreLike, say: Say) -> Contribution:
    say(f"what each modality adds to finding {target}, {name_of(score)}")
    rest = all_but(data.modalities, target)
    asked: dict[tuple[str, ...], Retrieval] = {}

    def by(*query: str) -> Retrieval:
        # In the direction one -> rest, a program that `evaluate` compiles as well.
        if query not in asked:
            _, asked[query] = retrieve_both_ways(data, (target,), query, score)
        return asked[query]

    def over(less: Retrieval) -> Difference:
        return difference(_ranks(joint), _ranks(less), data.groups)

    joint = by(*rest)
    without = {name: by(*all_but(rest, name)) for name in rest}
    alone = {name: by(name) for name in rest}
    best = max(rest, key=lambda name: np.sum(_ranks(alone[name]) == 1))
    return Contribution(
        score=name_of(score),
        target=target,
        joint=joint,
        without=without,
        alone=alone,
        worth={name: over(x) for name, x in without.items()},
        best=best,
        gain=over(alone[best]),
    )


def _ranks(result: Retrieval) -> np.ndarray:
    assert result.ranks is not None
    return result.ranks

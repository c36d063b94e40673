"""One call that measures embeddings, and the record it returns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gramalign.evaluation.diagnostics import Diagnostics, diagnose
from gramalign.evaluation.inputs import HostEmbeddings, HostGroups, HostPresent, checked
from gramalign.evaluation.means import mean
from gramalign.evaluation.records import Record, to_plain
from gramalign.evaluation.relevance import Relevance, numbered_labels, relevance_figures
from gramalign.evaluation.reranking import TOP, Judge, check_asked, rerank
from gramalign.evaluation.retrieval import (
    FUSED,
    RECALL_AT,
    Retrieval,
    all_but,
    check_temperature,
    retrieval_figures,
    task_name,
    with_cosine,
)
from gramalign.evaluation.tuple_sizes import size_factors
from gramalign.scores import Score, ScoreLike, name_of
from gramalign.types import Say
from gramalign.unit_rows import check_alike, check_by_name

FIGURES = (*(f"R@{k}" for k in RECALL_AT), "median rank", "mean rank", "MRR")
"""Of every task of retrieval."""


@dataclass(frozen=True)
class Evaluation(Record):
    """All figures of one set of embeddings.

    Attributes:
        score: the run's Score; the cosine stands beside it throughout.
        modalities: names, in the order given.
        examples: number of examples, complete or not.
        retrieval: every task under the run's Score and under the cosine.
        baseline: the same tasks for the baseline embeddings under the cosine; empty without them.
        diagnostics: geometry of the space.
        by_label: every task under the run's Score and the cosine, where every example with the
            query's label is right; empty without labels.
        beside: every task under the run's Score again, with the dual softmax or re-ranked, if that
            was asked for.
    """

    score: str
    modalities: tuple[str, ...]
    examples: int
    retrieval: tuple[Retrieval, ...]
    baseline: tuple[Retrieval, ...]
    diagnostics: Diagnostics
    by_label: tuple[Relevance, ...] = ()
    beside: tuple[Retrieval, ...] = ()

    def find(
        self,
        query: tuple[str, ...],
        gallery: tuple[str, ...],
        score: str,
        *,
        baseline: bool = False,
    ) -> Retrieval:
        """The result of one task.

        Args:
            query: modalities on the query side, in any order.
            gallery: modalities on the gallery side, in any order.
            score: "cosine", the run's Score, or the name of a result in `beside`.
            baseline: look among the baseline's results.

        Returns:
            The figures.

        Raises:
            KeyError: that task was not measured.
        """
        for result in self.baseline if baseline else (*self.retrieval, *self.beside):
            sides = (set(result.query), set(result.gallery))
            if sides == (set(query), set(gallery)) and result.score == score:
                return result
        raise KeyError(f"no figures for {query} -> {gallery} under {score!r}")

    def summary(self, *, baseline: bool = False, own: bool = False) -> dict[str, float]:
        """The few means that a comparison shows: R@1 in percent, over modalities.

        Args:
            baseline: summarise the baseline's results, which exist under the cosine only.
            own: call the run's Score "own", whichever it is, even the cosine.

        Returns:
            Mean R@1 over all ordered pairs under the cosine, and over "one -> the rest" and "the
            rest -> one" under the cosine and the run's Score. All are over the tasks that have
            queries under the run's Score, which may be fewer for `FUSED`; NaN where none has.
        """
        return {
            name: mean([task.recall[1] for task in tasks if self._asks(task)])
            for name, tasks in self._averaged(baseline, own).items()
        }

    def summary_hits(self, *, own: bool = False) -> dict[str, Float[np.ndarray, "_tasks examples"]]:
        """What `summary` averages, query by query, for statistics (`unit_values`).

        Tasks that the run's Score has no query of are there under the cosine: another run may have.

        Args:
            own: as in `summary`.

        Returns:
            By the same names, for each task and example: 100 where the match ranks first, 0 where
            it does not, NaN where the example is not a query. Of two modalities, whose tuples are
            pairs, "pair R@1" alone, under each Score: the others would be the same test again.

        Raises:
            ValueError: the evaluation was read from a record, which does not keep ranks.
        """
        found = self._averaged(False, own)
        if len(self.modalities) == 2:
            forward = {name: x for name, x in found.items() if not name.startswith("rest")}
            found = {name.replace("one -> rest", "pair"): x for name, x in forward.items()}
        return {name: np.stack([_hits(task) for task in tasks]) for name, tasks in found.items()}

    def _averaged(self, baseline: bool, own: bool) -> dict[str, list[Retrieval]]:
        """The tasks that each figure of the summary is a mean over."""
        score = "cosine" if baseline else self.score
        ones = [((name,), self.rest(name)) for name in self.modalities]
        pairs = [((a,), (b,)) for a in self.modalities for b in self.modalities if a != b]
        backward = [(rest, one) for one, rest in ones]

        def under(score: str, tasks: list[tuple[tuple[str, ...], tuple[str, ...]]]):
            return [self.find(*task, score, baseline=baseline) for task in tasks]

        found = {"pair R@1, cosine": under("cosine", pairs)}
        for name, each in {"cosine": "cosine", "own" if own else score: score}.items():
            found[f"one -> rest R@1, {name}"] = under(each, ones)
            found[f"rest -> one R@1, {name}"] = under(each, backward)
        return found

    def _asks(self, task: Retrieval) -> bool:
        """Whether the run's Score has queries of the same task."""
        return self.find(task.query, task.gallery, self.score).queries > 0

    def figures(self) -> dict[str, float]:
        """Every retrieval figure, by the names that `figure_names` lists."""
        found = self.summary(own=True)
        for task in self.retrieval:
            name = task_name(task.query, task.gallery)
            ranks = task.median_rank, task.mean_rank, task.mean_reciprocal_rank
            figures = [*task.recall.values(), *ranks]
            for called, score in {"own": self.score, "cosine": "cosine"}.items():
                if task.score == score:
                    found |= dict(zip(_names_of(name, called), figures, strict=True))
        return {name: found[name] for name in figure_names(self.modalities)}

    def ranks(self) -> dict[str, Int[np.ndarray, " examples"]]:
        """For every example as a query, the rank of its match; 0 where it is not a query.

        Keys are such as `text -> audio, cosine`; those of the baseline end in `, baseline`.
        """
        named = {x.name: x for x in (*self.retrieval, *self.beside)}
        named |= {f"{x.name}, baseline": x for x in self.baseline}
        return {name: x.ranks for name, x in named.items() if x.ranks is not None}

    def rest(self, modality: str) -> tuple[str, ...]:
        """All modalities but one."""
        return all_but(self.modalities, modality)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`, the summary among them; NaN becomes None."""
        return {"summary": to_plain(self.summary())} | to_plain(self)


def figure_names(modalities: Sequence[str]) -> list[str]:
    """Names of the figures of an evaluation of these modalities, the summary's first.

    `own` is the run's Score. Recalls are in percent, lower ranks are better, and MRR is the mean
    reciprocal rank, at best 1.

    >>> names = figure_names(["text", "audio"])
    >>> names[4], names[5], names[-1]
    ('rest -> one R@1, own', 'audio -> text R@1, cosine', 'text -> audio MRR, own')
    """
    summary = ["pair R@1, cosine"]
    for score in ("cosine", "own"):
        summary += [f"one -> rest R@1, {score}", f"rest -> one R@1, {score}"]
    tasks = sorted(_sides(modalities))
    names = [_names_of(task, score) for score in ("cosine", "own") for task in tasks]
    return summary + [name for each in names for name in each]


def asked_by(figure: str, present: Mapping[str, Bool[np.ndarray, " n"]]) -> Bool[np.ndarray, " n"]:
    """Which rows have what a figure of `figure_names` asks for; `FUSED` may ask for more.

    >>> asked_by("a -> b+c R@1, own", {x: np.array([x in y for y in ("ac", "bc")]) for x in "abc"})
    array([ True, False])
    """
    for task, sides in _sides(tuple(present)).items():
        if figure in {name for score in ("cosine", "own") for name in _names_of(task, score)}:
            return np.all([np.any([present[x] for x in side], axis=0) for side in sides], axis=0)
    return np.sum([*present.values()], axis=0) >= 2


def _sides(modalities: Sequence[str]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Query and gallery of every task, by its name."""
    return {
        task_name(*sides): sides
        for one in modalities
        for rest in (all_but(modalities, one), *((other,) for other in modalities if other != one))
        for sides in (((one,), rest), (rest, (one,)))
    }


def _names_of(task: str, score: str) -> list[str]:
    return [f"{task} {figure}, {score}" for figure in FIGURES]


def _hits(task: Retrieval) -> Float[np.ndarray, " examples"]:
    if task.ranks is None:
        raise ValueError(
            f"{task_name(task.query, task.gallery)}: this evaluation is from a record, which does "
            "not keep ranks; evaluate the embeddings again, or use the ranks in ranks.npz"
        )
    return np.where(task.ranks > 0, 100.0 * (task.ranks == 1), math.nan)


def evaluate(
    embeddings: HostEmbeddings,
    present: HostPresent | None = None,
    *,
    score: ScoreLike = "cosine",
    groups: HostGroups | None = None,
    fused: HostEmbeddings | None = None,
    baseline_embeddings: HostEmbeddings | None = None,
    neighbours: bool = True,
    labels: HostGroups | None = None,
    dual_temperature: float | None = None,
    rerank_by: str | type[Score] | Judge | None = None,
    rerank_top: int = TOP,
    say: Say = lambda text: None,
) -> Evaluation:
    """Measure how well embeddings of several modalities agree.

    Retrieval for every ordered pair, every modality -> the rest and the rest -> every modality,
    exact and streaming: the score matrix is never stored. `gramalign.evaluation.retrieval` gives
    the rules for candidates, ties and missing modalities.

    Args:
        embeddings: per modality `[examples, dim]`; row i is the same example in every modality.
        present: per modality bool `[examples]`; a modality without a mask is present everywhere.
        score: the Score the embeddings were trained for: one of `SCORE_NAMES`, `FUSED`, or a class
            of your own (`gramalign.scores.score_named`). The cosine stands beside it. A warning
            says where the Score ranks tuples with missing modalities by their size; the cosine and
            the height do not.
        groups: `[examples]` labels; examples of one group never compete with each other.
        fused: for any modality, one embedding of all the others, for `FUSED`.
        baseline_embeddings: the same examples embedded by a baseline (`fit_gcca`), in any dim.
        neighbours: whether to include hubness in the diagnostics.
        labels: `[examples]`, e.g. classes, to add retrieval of all examples with the query's label.
        dual_temperature: adds retrieval under the dual softmax at this temperature.
        rerank_by: adds retrieval with the best candidates re-ranked by this Score, a name or class,
            or by a `Judge`, then only of whole tuples.
        rerank_top: how many candidates to re-rank.
        say: called with what is measured next.

    Returns:
        The figures.

    Raises:
        TypeError: embeddings that are not by name.
        ValueError: input that cannot be measured, with its cure (see `checked`), an unknown score,
            a baseline with other modalities or examples, or as `rerank`.
    """
    data = checked(embeddings, present, groups, fused)
    check_temperature(dual_temperature)
    if rerank_by is not None:
        check_asked(rerank_by, rerank_top, argument="rerank_")
    numbers = None if labels is None else numbered_labels(labels, len(data))
    called = name_of(score)
    retrieval = [x for each in with_cosine(score) for x in retrieval_figures(data, each, say=say)]
    baseline = ()
    if baseline_embeddings is not None:
        check_by_name(baseline_embeddings, "baseline_embeddings")
        arrays = {name: np.asarray(values) for name, values in baseline_embeddings.items()}
        number = check_alike(arrays, "baseline_embeddings")
        if set(arrays) != set(data.modalities) or number != len(data):
            raise ValueError(
                f"baseline_embeddings: got {number} examples of {', '.join(arrays)}, expected "
                f"{len(data)} of {', '.join(data.modalities)}; embed the same rows of the same "
                "modalities"
            )
        beside = checked(arrays, data.given, groups)  # the same queries
        baseline = retrieval_figures(beside, "cosine", say=lambda x: say(f"baseline, {x}"))
    besides: list[Retrieval] = []
    if dual_temperature is not None:
        besides += retrieval_figures(
            data, score, dual_temperature=dual_temperature, say=lambda x: say(f"dual softmax, {x}")
        )
    if rerank_by is not None:
        judge = isinstance(rerank_by, Judge)
        say(f"re-ranking by {rerank_by.name if judge else name_of(rerank_by)}")
        besides += [
            rerank(data, raw, rerank_by, top=rerank_top, score=score)
            for raw in retrieval
            if raw.score == called
            and (not judge or len(raw.query + raw.gallery) == len(data.modalities))
        ]
    by_label: list[Relevance] = []
    if numbers is not None:
        for each in with_cosine("cosine" if score == FUSED else score):
            by_label += relevance_figures(data, numbers, each, say=say)
    say("the space")
    return Evaluation(
        score=called,
        modalities=data.modalities,
        examples=len(data),
        retrieval=tuple(retrieval),
        baseline=baseline,
        diagnostics=diagnose(
            data,
            neighbours=neighbours,
            uneven=size_factors(data, retrieval, called),
            fused=score == FUSED,
        ),
        by_label=tuple(by_label),
        beside=tuple(besides),
    )

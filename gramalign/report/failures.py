"""The queries whose match ranks lowest, and the candidates before it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gramalign.evaluation import FUSED, Retrieval
from gramalign.evaluation.retrieval import gallery_sizes
from gramalign.report.blocks import Failure, Gallery, Item
from gramalign.report.gathered import Gathered
from gramalign.report.tasks import kinds, tasks
from gramalign.report.thumbnails import Thumbnails
from gramalign.scores import Score, score_named

_ANCHOR = "anchor"  # as in retrieval: one compilation for all tasks of one size
_QUERIES = 6  # of each kind, each of a different example
_ABOVE = 4  # candidates shown that rank before the match
_Candidates = tuple[Float[Array, " n"], Bool[Array, " n"]]


def galleries(run: Gathered, pictures: Thumbnails) -> list[Gallery]:
    """The worst queries of each kind of tuple retrieval (with two modalities, of pairs).

    Args:
        run: the run; without its ranks there are no galleries.
        pictures: of its rows.

    Returns:
        A gallery for each kind that has failures, under the run's Score; under the cosine if that
        Score needs fused embeddings.
    """
    score = "cosine" if run.evaluation.score == FUSED else run.evaluation.score
    found = []
    for kind in kinds(run.evaluation)[-2:]:
        worst = _worst(run, list(tasks(run.evaluation, kind, score)))
        failures = [
            Failure(
                task=f"{_side(task.query)} → {_side(task.gallery)}",
                rank=rank,
                candidates=int(_candidates(run, task)[row]),
                query=_item(run, pictures, row, row),
                above=tuple(
                    _item(run, pictures, other, row)
                    for other in _before(run, task, score, row, min(_ABOVE, rank - 1))
                ),
            )
            for rank, row, task in worst
        ]
        if failures:
            found.append(Gallery(f"{kind}, {score}", failures))
    return found


def _worst(run: Gathered, results: list[Retrieval]) -> list[tuple[int, int, Retrieval]]:
    """Rank, row and task of the lowest-ranked matches below rank 1, each of a different row.

    Without rows of zeros, which rank behind the whole gallery: nothing came before their match.
    """
    places = []
    for task in results:
        ranks = run.ranks.get(task.name)
        if ranks is not None:
            ranks = np.where(ranks <= _candidates(run, task), ranks, 0)
            last = np.argsort(-ranks, kind="stable")[:_QUERIES]
            places += [(int(ranks[row]), int(row), task) for row in last if ranks[row] > 1]
    chosen: dict[int, tuple[int, int, Retrieval]] = {}
    for place in sorted(places, key=lambda place: -place[0]):
        chosen.setdefault(place[1], place)
    return list(chosen.values())[:_QUERIES]


def _before(run: Gathered, task: Retrieval, score: str, row: int, count: int) -> list[int]:
    """The best candidates of a query, without its match and the members of its group."""
    turned = len(task.query) > len(task.gallery)
    (one,), others = (task.gallery, task.query) if turned else (task.query, task.gallery)
    roles = {_ANCHOR: one} | {f"other {i}": name for i, name in enumerate(others)}
    data = run.embedded
    forward, backward = _of_query(
        score_named(score, _ANCHOR),
        {role: jnp.asarray(data.embeddings[name]) for role, name in roles.items()},
        {role: jnp.asarray(data.present[name]) for role, name in roles.items()},
        jnp.asarray(row),
    )
    scores, there = backward if turned else forward
    values, valid = np.asarray(scores), np.array(there)
    valid[row] = False
    if data.groups is not None:
        valid &= data.groups != data.groups[row]
    order = np.argsort(-np.where(valid, values, -np.inf), kind="stable")
    return [int(other) for other in order[:count] if valid[other]]


@partial(jax.jit, static_argnames="score")
def _of_query(
    score: Score,
    embeddings: dict[str, Array],
    present: dict[str, Array],
    row: Int[Array, ""],
) -> tuple[_Candidates, _Candidates]:
    """Scores of all columns for one row, and of all rows for one column; which are present.

    Both at once, as the compilation is what takes time.
    """
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    one_row, one_col = jax.tree.map(lambda x: x[row][None], (rows, cols))
    forward = score.tile(one_row.factors, cols.factors)[0]
    backward = score.tile(rows.factors, one_col.factors)[:, 0]
    return (forward, cols.valid), (backward, rows.valid)


def _candidates(run: Gathered, task: Retrieval) -> Int[np.ndarray, " n"]:
    """For each row, as the query of a task."""
    there = np.any([run.embedded.present[name] for name in task.gallery], axis=0)
    return gallery_sizes(there, run.embedded.groups)


def _item(run: Gathered, pictures: Thumbnails, row: int, query: int) -> Item:
    labels = run.rows.labels
    if labels is None:
        return Item(str(run.rows.ids[row]), None, pictures.of(row))
    same = row != query and bool(labels[row] == labels[query])
    return Item(str(run.rows.ids[row]), str(labels[row]), pictures.of(row), right=same)


def _side(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "rest"

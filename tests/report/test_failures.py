"""The worst queries and what came before their match, against a search by hand."""

import dataclasses

import numpy as np
import pytest

from gramalign.data import from_arrays
from gramalign.evaluation import checked, evaluate
from tests import samples
from tests.report.made import THREE, made

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.failures import galleries
from gramalign.report.thumbnails import Thumbnails

ROWS = 16


@pytest.fixture(scope="module")
def run():
    return evaluated()


def evaluated(zeros=()):
    """A run with gaps, groups and labels; some rows of text are zeros."""
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, ROWS, 6, THREE, 2.0)
    embeddings["text"][list(zeros)] = 0
    present = {"sound": rng.random(ROWS) > 0.3}
    columns = {"groups": np.arange(ROWS) // 2, "labels": np.arange(ROWS) % 3}
    masks = {f"present.{name}": mask for name, mask in present.items()}
    found = evaluate(embeddings, present, groups=columns["groups"], neighbours=False)
    return dataclasses.replace(
        made("one", score="cosine"),
        evaluation=found,
        ranks=found.ranks(),
        rows=from_arrays({**embeddings, **masks, **columns}),
        embedded=checked(embeddings, present, columns["groups"]),
    )


def test_what_came_before_the_match(run):
    data, labels = run.embedded, run.rows.labels
    shown = galleries(run, Thumbnails(run.rows))
    assert [gallery.title for gallery in shown] == ["one → rest, cosine", "rest → one, cosine"]
    for gallery, sides in zip(shown, ((1, 2), (2, 1)), strict=True):
        found = [x for x in run.evaluation.retrieval if (len(x.query), len(x.gallery)) == sides]
        assert gallery.failures[0].rank == max(x.ranks.max() for x in found)
        assert len({failure.query.id for failure in gallery.failures}) == len(gallery.failures)
    for failure in (failure for gallery in shown for failure in gallery.failures):
        sides = failure.task.split(" → ")
        (one,) = (name for name in sides if name != "rest")
        of = {one: (one,), "rest": tuple(name for name in THREE if name != one)}
        asked, searched = (samples.normalized(_sum(data, of[side])) for side in sides)
        row = int(failure.query.id)
        others = np.any([data.present[name] for name in of[sides[1]]], axis=0)
        others &= data.groups != data.groups[row]
        order = np.argsort(-np.where(others, searched @ asked[row], -np.inf), kind="stable")
        first = [str(other) for other in order[: min(4, failure.rank - 1)]]
        assert [item.id for item in failure.above] == first
        assert failure.candidates == others.sum() + 1
        assert [x.right for x in failure.above] == [labels[int(x)] == labels[row] for x in first]
        assert not failure.query.right


def test_where_all_matches_are_found_first_nothing_is_shown():
    run = made("one", score="cosine", rank=1, counts=lambda query, gallery: (2, 2))
    assert galleries(run, Thumbnails(run.rows)) == []


def test_rows_of_zeros_are_not_ranked():
    run = evaluated(zeros=range(0, ROWS, 2))
    assert max(ranks.max() for ranks in run.ranks.values()) == ROWS, "of at most 15"
    failures = [x for each in galleries(run, Thumbnails(run.rows)) for x in each.failures]
    assert failures and all(len(x.above) == min(4, x.rank - 1) for x in failures)
    assert all(x.rank <= x.candidates for x in failures)


def _sum(data, names):
    return np.sum([data.embeddings[name] for name in names], axis=0, dtype=float) + 1e-12


def test_what_is_absent_makes_no_picture_darker():
    grey = np.array([[0.0, 1.0], [0.5, 1.0], [9.0, np.nan]])
    rows = {"photo": grey, "text": np.ones((3, 1)), "present.photo": np.arange(3) < 2}
    assert Thumbnails(from_arrays(rows))._limits("photo") == (0.0, 1.0)

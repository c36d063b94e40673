"""Tables: what is compared with what, and where it stands."""

import dataclasses
import math
import re
from importlib import resources

import numpy as np
import pytest

from gramalign.evaluation import Hubness, checked, evaluate
from tests.report.made import THREE, made

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.content import sections
from gramalign.report.figures import (
    comparison,
    geometry_table,
    headlines,
    hubness_table,
    tuple_table,
)
from gramalign.report.page import render


def cells(table, name):
    """Of a table's row, what stands in bold."""
    (row,) = (row for row in table.rows if row[0].text == name)
    return [cell.text for cell in row if cell.strong]


def test_the_best_is_the_best_on_the_same_rows():
    runs = [
        made("easy", data="easy.npz", rank=1),
        made("hard", rank=9),
        made("harder", rank=1, part="validation"),
        made("best", rank=1),
    ]
    assert not cells(comparison(runs[1:3]), "harder"), "of one store, but another part"
    table = comparison(runs)
    assert cells(table, "best") == ["100.0"] * 6 and not cells(table, "hard")
    assert not cells(table, "easy") and not cells(table, "harder"), "there is nothing to beat"
    assert "best of the runs on the same rows" in table.note
    assert [row[3].text for row in table.rows[:3]] == [
        *("easy.npz, test", "a.npz, test", "a.npz, validation")
    ]
    # On one store its name is enough.
    table = comparison(runs[1::2])
    assert cells(table, "best") and table.rows[0][3].text == "a.npz"
    assert "same rows" not in table.note


def test_headings_stand_where_their_values_do():
    table = comparison([made("one"), made("other")])
    row = table.rows[0]
    assert [x.head for x in table.head[-1][1:]] == [x.head for x in row[1:]]


def test_figures_are_those_of_the_score_that_heads_them():
    run = made("one", rank=1)
    results = tuple(
        dataclasses.replace(x, recall={**x.recall, 1: 25.0}) if x.score == "cosine" else x
        for x in run.evaluation.retrieval
    )
    run = dataclasses.replace(
        run, evaluation=dataclasses.replace(run.evaluation, retrieval=results)
    )
    table = comparison([run, made("other")])
    shown = {head.text: x.text for head, x in zip(table.head[-1], table.rows[0], strict=True)}
    assert (shown["pair, its Score"], shown["pair, cosine"]) == ("100.0", "25.0")
    # Of 20 candidates, by chance.
    assert {row[-1].text for row in tuple_table(run).rows} == {"5.00"}


def test_a_score_that_was_asked_for_is_not_called_the_own():
    table = comparison([made("one", objective="clip + 0.5*height", score="volume"), made("other")])
    said = " ".join([table.note, *(x.text for x in table.head[-1])])
    assert "its Score" in said and "own Score" not in said and "as it was trained" not in said


def test_queries_are_those_of_the_table():
    def counts(query, gallery):
        return (15, 20) if len(query) == len(gallery) else (40, 54)

    assert tuple_table(made("three", counts=counts)).note.startswith("40 queries per row.")
    two = made("two", modalities=THREE[:2], counts=counts)
    assert tuple_table(two).note.startswith("15 queries per row.")


def test_tables_with_names_beside_figures_have_the_whole_width():
    style = (resources.files("gramalign.report") / "templates" / "style.css").read_text()
    (columns,) = re.findall(r"\.table:not\(\.heat\):has\(tr > :nth-child\((\d)\)\)", style)
    for table in geometry_table(made("one")):
        assert len(table.head[-1]) >= int(columns)


def of_one_anchor(name):
    """A run with fused tuples of text alone, whose cosine and baseline find those, and no others.

    The Score itself has no queries of the others.
    """

    def changed(x):
        if len(x.query + x.gallery) == 2 or ("text",) in (x.query, x.gallery):
            return x
        if x.score == "cosine":
            return dataclasses.replace(x, recall=dict.fromkeys(x.recall, 0.0))
        unknown = dict.fromkeys(x.recall, math.nan)
        ranks = {"median_rank": math.nan, "mean_rank": math.nan, "mean_reciprocal_rank": math.nan}
        return dataclasses.replace(x, queries=0, recall=unknown, chance=unknown, **ranks)

    run = made(name, score="fused")
    results = tuple(map(changed, run.evaluation.retrieval))
    baseline = tuple(x for x in results if x.score == "cosine")
    found = dataclasses.replace(run.evaluation, retrieval=results, baseline=baseline)
    return dataclasses.replace(run, evaluation=found)


def test_headlines_are_over_the_tasks_of_the_score():
    for figure in headlines(of_one_anchor("one").evaluation):
        marks = {name: value for name, value, _ in figure.marks}
        assert (figure.value, marks["linear GCCA"]) == (100, 100), figure.name
        assert marks["chance"] == 5


def test_the_table_of_tuples_has_every_task():
    table = tuple_table(of_one_anchor("one"))
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert len(rows) == 6
    assert rows["photo → rest"][1:7] == ["–"] * 6 and rows["photo → rest"][-2:] == ["0.0", "5.00"]
    assert "–" not in rows["text → rest"]


def test_only_means_over_the_same_tasks_are_compared():
    table = comparison([of_one_anchor("fused"), made("other", rank=9), made("third", rank=1)])
    assert len(cells(table, "fused")) == 2, "pairs under both Scores"
    assert table.note.endswith("are compared; of fewer: fused.")
    alone = comparison([of_one_anchor("fused"), made("other", data="b.npz")])
    assert "of fewer" not in alone.note, "it is compared with none"
    assert "linear baseline" in alone.note
    assert "linear" not in comparison([made("one"), made("other")]).note
    (linear,) = ([x.text for x in row] for row in table.rows if row[0].text == "linear GCCA")
    names = [x.text for x in table.head[-1]]
    shown = dict(zip(names[-6:], linear[-6:], strict=True))
    assert shown["one → rest, cosine"] == "33.3", "over all tasks, as the runs above it"


def test_labels_are_found_where_no_match_is():
    """Every row has one modality, so that no query's own example is in its gallery."""
    rng = np.random.default_rng(0)
    of = np.arange(30) % 3
    rows = {name: rng.normal(size=(30, 4)) for name in THREE}
    here = {name: of == i for i, name in enumerate(THREE)}
    found = evaluate(rows, here, neighbours=False, labels=np.arange(30) // 10)
    run = dataclasses.replace(
        made("alone"), evaluation=found, ranks={}, embedded=checked(rows, here)
    )
    (retrieval,) = (x for x in sections([run]) if x.id == "retrieval")
    (table,) = retrieval.groups[0].blocks
    assert table.title == "By label"
    assert [row[0].text for row in table.rows] == [
        *(f"{name} → rest" for name in THREE),
        *(f"rest → {name}" for name in THREE),
    ]
    said = "No example has the modalities of both a query and its match."
    assert said in render([run, dataclasses.replace(run, name="another")])
    assert said not in render([run, dataclasses.replace(made("matched"), ranks={})])
    page = render([run])
    assert said in page
    assert "Found by each query" not in page and "headline" not in page.partition("</style>")[2]


def test_hubs_are_named():
    run = made("one", modalities=THREE[:2])
    assert not hubness_table(run).rows, "nobody measured it"
    found = Hubness("text", "photo", 2.345, 17.0), Hubness("photo", "text", math.nan, math.nan)
    diagnostics = dataclasses.replace(run.evaluation.diagnostics, hubness=found)
    evaluation = dataclasses.replace(run.evaluation, diagnostics=diagnostics)
    run = dataclasses.replace(run, evaluation=evaluation, ranks={})
    table = hubness_table(run)
    assert [[x.text for x in row] for row in table.rows] == [
        ["text", "", "2.35"],
        ["photo", "–", ""],
    ]
    assert table.note.endswith("The largest hub: one of photo, near 17 queries of text.")
    (space,) = (x for x in sections([run]) if x.id == "space")
    assert "Hubness" in [block.title for block in space.groups[0].blocks]

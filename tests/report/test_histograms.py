"""Ranks: bars, and what a random order would reach."""

import dataclasses

import numpy as np
import pytest

from gramalign.evaluation import TupleFigure
from tests.report.made import made

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.figures import geometry_table
from gramalign.report.histograms import bins, rank_plots, tuple_plots


def marks(plot):
    """Heights of the random order's marks, a row for each series, a column for each bar."""
    (panel,) = plot.figure.axes
    return np.array([[line[0, 1] for line in x.get_segments()] for x in panel.collections])


def test_a_random_order_is_that_of_each_run():
    runs = [made("small", counts=lambda *_: (10, 10), rank=10), made("large", rank=10)]
    for plot in rank_plots(runs):
        small, large = marks(plot)
        np.testing.assert_allclose(small, [10, 10, 20, 40, 20])
        np.testing.assert_allclose(large, [5, 5, 10, 20, 40])


def test_a_random_order_counts_queries_as_the_bars_do():
    def counts(query, gallery):
        return (90, 10) if query == ("text",) else (10, 5)

    plot, *_ = rank_plots([made("gaps", counts=counts, rank=2)])
    # Of pairs, two tasks have 90 queries each, and four have 10 each.
    first = (180 / 10 + 40 / 5) / 220
    np.testing.assert_allclose(marks(plot)[0], [100 * first, 100 * first])


def test_bars_are_shares_of_those_that_are_queries():
    run = made("gaps", rank=3)
    other = np.repeat([1, 0], [5, 7])  # of five that find their match first, of seven no queries
    ranks = {name: np.concatenate([x[5:], other]) for name, x in run.ranks.items()}
    plot, *_ = rank_plots([dataclasses.replace(run, ranks=ranks)])
    heights = [bar.get_height() for bar in plot.figure.axes[0].patches]
    assert heights == [25, 0, 75] * 2


def test_the_baseline_stands_beside_with_ranks_of_its_own():
    run = made("one", rank=3)
    baseline = tuple(x for x in run.evaluation.retrieval if x.score == "cosine")
    ranks = {f"{result.name}, baseline": np.full(20, 2) for result in baseline}
    evaluation = dataclasses.replace(run.evaluation, baseline=baseline)
    run = dataclasses.replace(run, evaluation=evaluation, ranks={**run.ranks, **ranks})
    for plot in rank_plots([run]):
        assert [key.label for key in plot.keys[:3]] == ["volume", "cosine", "linear GCCA"]
        heights = [bar.get_height() for bar in plot.figure.axes[0].patches]
        assert heights == [0, 0, 100, 0, 0, 100, 0, 100, 0]


def test_densities_are_comparable_however_many_tuples_there_are():
    run = made("one")
    figure = TupleFigure(0.3, 0.6, 0.9, (0, 3, 1, 0), (10, 10, 10, 10))
    diagnostics = dataclasses.replace(run.evaluation.diagnostics, volume=figure)
    evaluation = dataclasses.replace(run.evaluation, diagnostics=diagnostics)
    (plot,) = tuple_plots(dataclasses.replace(run, evaluation=evaluation))
    heights = [x.get_data().values.tolist() for x in plot.figure.axes[0].patches]
    assert heights[::2] == [[0, 3, 1, 0], [1, 1, 1, 1]]
    assert plot.note.startswith("In 90.0 % of all pairs ")


def test_an_axis_begins_at_the_least_that_there_can_be():
    run = made("one")
    figure = TupleFigure(0.6, 0.5, 0.9, (0, 3, 1, 0), (10, 10, 10, 10))
    both = dataclasses.replace(run.evaluation.diagnostics, volume=figure, leading_share=figure)
    evaluation = dataclasses.replace(run.evaluation, diagnostics=both)
    plots = tuple_plots(dataclasses.replace(run, evaluation=evaluation))
    limits = [plot.figure.axes[0].get_xlim() for plot in plots]
    assert limits == [(0, 1), (pytest.approx(1 / 3), 1)]


def test_a_tiny_volume_is_not_shown_as_none():
    run = made("many")
    figure = TupleFigure(1.5e-4, 2.25e-3, 0.9, (3, 0), (10, 0))
    diagnostics = dataclasses.replace(
        run.evaluation.diagnostics,
        volume=figure,
        gram_value={"text": 4e-5},
        uniformity={"text": -1.0},
    )
    run = dataclasses.replace(
        run, evaluation=dataclasses.replace(run.evaluation, diagnostics=diagnostics)
    )
    (plot,) = tuple_plots(run)
    means = [key.label.partition(",")[0] for key in plot.keys]
    assert means == ["matched: mean 1.5e-04", "mismatched: mean 0.002"]
    modalities, _ = geometry_table(run)
    assert modalities.rows[0][-1].text == "4.0e-05"


def test_bars_end_with_the_gallery():
    assert bins(300, 350)[-1] == (257, 350) and bins(20, 350)[-1] == (17, 32)
    plot, *_ = rank_plots([made("one", counts=lambda *_: (350, 350), rank=300)])
    (panel,) = plot.figure.axes
    assert panel.get_xticklabels()[-1].get_text() == "257–350"
    plot, *_ = rank_plots([made("groups", counts=lambda *_: (5, 5.5), rank=5)])
    (panel,) = plot.figure.axes
    assert panel.get_xticklabels()[-1].get_text() == "5–6", "a mean size"


def test_a_run_has_one_colour_in_all_panels():
    """Also beside those that a panel lacks: of the cosine, here, as the folder has no ranks."""
    runs = [made(name) for name in ("first", "other", "third")]
    kept = {name: x for name, x in runs[0].ranks.items() if not name.endswith("cosine")}
    runs[0] = dataclasses.replace(runs[0], ranks=kept)
    plots = rank_plots(runs)
    colours = [{key.label: key.colour for key in plot.keys[:-1]} for plot in plots]
    every = colours[0]
    assert len(every) == 3 and len(set(every.values())) == 3
    few = [each for each in colours if "first" not in each]
    assert few and all(each == {name: every[name] for name in each} for each in colours)


def test_runs_that_share_a_colour_differ_in_fill():
    names = [f"run{i}" for i in range(17)]
    for plot in rank_plots([made(name) for name in names]):
        looks = [(key.colour, key.sign) for key in plot.keys[:-1]]
        assert len(set(looks)) == 17 and len({colour for colour, _ in looks}) == 8
        bars = plot.figure.axes[0].containers
        assert [bool(each[0].get_hatch()) for each in bars] == [i >= 8 for i in range(17)]

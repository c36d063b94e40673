"""Curves: which lines are drawn, how they are told apart, and what they are called."""

import dataclasses
import math

import numpy as np
import pytest

from tests.report.made import THREE, made

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.curves import predictor_plots, timing_plots, training_plots
from gramalign.report.drawing import SERIES, STROKES, colour, stroke


def log(score="own", steps=(10, 20, 30)):
    """As of two modalities, of which all tasks are the same."""
    rows = []
    for step in steps:
        worth = {"own": 2.0 * step, "cosine": 1.0 * step}
        sides = ("pair", "one -> rest", "rest -> one")
        found = {
            f"validation/{side} R@1, {under}": value
            for side in sides
            for under, value in worth.items()
            if (side, under) != ("pair", "own")
        }
        found |= {"validation/GRAM value": 1 / step, "validation/matched volume": 1 / step}
        rows.append({"step": step, "loss": 1 / step, "matched_volume": 0.5, **found})
    return rows


def labels(plots, title):
    """Of the panel of that title."""
    (plot,) = (plot for plot in plots if plot.title == title)
    return [key.label for key in plot.keys]


def test_of_two_modalities_one_kind_of_task_is_drawn():
    two = made("two", modalities=THREE[:2], metrics=log())
    both = ["pair R@1, cosine", "pair R@1, own"]
    assert sorted(labels(training_plots([two]), "Validation")) == both
    (plot,) = predictor_plots([two])
    assert sorted(key.label for key in plot.keys) == [f"{name}: 1.00" for name in both]
    drawn = [line.get_xydata().tolist() for line in plot.figure.axes[0].lines]
    worth = [[1 - 1 / step, step] for step in (10, 20, 30)]
    assert sorted(drawn) == [worth, [[x, 2 * y] for x, y in worth]]
    three = made("three", metrics=log())
    assert len(labels(training_plots([three]), "Validation")) == 5
    # Beside each other, two of two modalities are compared by pairs.
    other = made("other", modalities=THREE[:2], metrics=log())
    titles = [plot.title for plot in training_plots([two, other])]
    assert titles.count("pair R@1, own, held-out rows") == 1 and "→" not in "".join(titles)


def test_the_cosine_as_the_own_score_is_drawn_once():
    for score in ("cosine", "volume"):  # it is evaluated under now, which its log knows nothing of
        cosine = made("cosine", objective="clip", score=score, metrics=log())
        assert labels(training_plots([cosine]), "Validation") == [
            *("pair R@1, cosine", "one → rest R@1, cosine", "rest → one R@1, cosine")
        ]
    volume = made("volume", objective="gram", score="cosine", metrics=log())
    assert len(labels(training_plots([volume]), "Validation")) == 5
    titles = [plot.title for plot in training_plots([cosine, made("volume", metrics=log())])]
    assert "rest → one R@1, own, held-out rows" in titles


def test_the_step_of_the_model_is_marked():
    best = dataclasses.replace(made("one", metrics=log()), step=20)
    assert labels(training_plots([best]), "Validation")[-1] == "the model's step, 20"


def test_panels_of_held_out_rows_say_so():
    alone = [plot.title for plot in training_plots([made("one", metrics=log())])]
    both = [made(name, metrics=log()) for name in ("one", "other")]
    for titles in (alone, [plot.title for plot in training_plots(both)]):
        assert len(set(titles)) == len(titles) and "step" not in titles
        assert "matched volume, held-out rows" in titles and "GRAM value, held-out rows" in titles
    assert "Tuples of the batch" in alone or "matched volume" in alone


def test_which_figures_are_worth_a_panel():
    """Losses and validation first; no skipped steps where there are none, nor what one run has."""

    def rows(**more):
        figures = {"lr": 1.0, "grad_norm": 1.0, "grad_norm/x": 2.0, "skipped": 0, "loss": 3.0}
        figures |= {"validation/pair R@1, cosine": 5.0, **more}
        return [{"step": step, **figures} for step in (1, 2)]

    def titles(*logs):
        runs = (made(f"run{i}", metrics=log) for i, log in enumerate(logs))
        return [plot.title for plot in training_plots(list(runs))]

    both = ["loss", "pair R@1, cosine, held-out rows", "lr", "norm of the gradient"]
    assert titles(rows(), rows(only=1.0)) == both
    assert titles(rows(), rows(skipped=1)) == [*both, "skipped"]
    alone = ["Loss", "Validation", "Norm of the gradient", "lr"]
    assert titles(rows()) == alone and titles(rows(skipped=1)) == [*alone, "skipped"]


def test_a_sum_of_one_term_is_drawn_once():
    rows = [{"step": step, "loss": 3.0, "loss/clip": 3.0} for step in (1, 2)]
    assert labels(training_plots([made("one", metrics=rows)]), "Loss") == ["clip"]
    weighted = [{**row, "loss": 6.0} for row in rows]
    assert labels(training_plots([made("two", metrics=weighted)]), "Loss") == [
        *("all, weighted", "clip")
    ]


def test_names_of_modalities_stay_as_they_are():
    rows = [
        {"step": 1, "loss": 1.0, "grad_norm/x_1": 1.0, "validation/x_1 -> y/z R@1, own": 5.0},
        {"step": 2, "loss": 1.0, "grad_norm/x_1": 1.0, "validation/x_1 -> y/z R@1, own": 5.0},
    ]
    plots = training_plots([made("one", metrics=rows)])
    assert labels(plots, "Norm of the gradient") == ["x_1"]
    assert labels(plots, "Validation") == ["x_1 → y/z R@1, own"]


def test_lines_change_where_their_colours_begin_again():
    looks = [(colour(i), stroke(i)) for i in range(len(SERIES) * len(STROKES))]
    assert len(set(looks)) == len(looks)
    rows = [{"step": i, "loss": 1.0, **{f"grad_norm/{j}": j for j in range(20)}} for i in (1, 2)]
    (plot,) = (x for x in training_plots([made("one", metrics=rows)]) if "gradient" in x.title)
    assert len({(key.colour, key.sign) for key in plot.keys}) == len(plot.keys) == 20
    drawn = plot.figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) > len(SERIES)
    for key, line in zip(plot.keys, drawn, strict=True):
        assert line.get_color() == key.colour
        assert (line.get_linestyle() == "-") == (key.sign == "━")


def test_where_time_goes_is_told_of_one_run():
    rows = [{"step": 2, "examples_per_second": 50.0, "seconds": 0.5, "seconds/input": 0.2}]
    rows += [{"step": 3, "seconds/input": 0.0}]
    timed = [dataclasses.replace(made(name), timing=rows) for name in ("one", "other")]
    throughput, parts = timing_plots(timed[:1])
    assert throughput.title == "Throughput of each device"
    assert parts.title == "Where a step's time goes"
    assert [key.label for key in parts.keys] == ["input"]
    (panel,) = parts.figure.axes
    np.testing.assert_array_equal(panel.get_lines()[0].get_ydata(), [0.2, math.nan])
    assert panel.get_yscale() == "log"
    (both,) = timing_plots([*timed, made("without")])
    assert [key.label for key in both.keys] == ["one", "other"]
    assert timing_plots([made("without")]) == []


@pytest.mark.parametrize("steps", [(1,), (1, 2), (1, 2, 3)])
def test_there_is_no_half_step(steps):
    for plot in training_plots([made("short", metrics=log(steps=steps))]):
        (panel,) = plot.figure.axes
        low, high = panel.get_xlim()
        ticks = [tick for tick in panel.get_xticks() if low <= tick <= high]
        assert ticks and all(tick == round(tick) for tick in ticks)

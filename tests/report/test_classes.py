"""The plot of classifiers, whatever their modalities are called."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest

from gramalign.evaluation import ClassFigures, Classification, Estimate
from tests.report.made import THREE

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.classes import class_blocks
from gramalign.report.drawing import to_svg


def classified(modalities, count=1):
    """Figures of prompts under two Scores and of probes, each one point higher than the last."""
    values = itertools.count(50.0)

    def figures(classifier, of, score="", prompts=""):
        value = next(values)
        figure = Estimate(value, value - 10, value + 10)
        about = (classifier, of, score, prompts, 40, 3, (), {1: figure}, figure, {1: 33.3}, 44.4)
        return ClassFigures(*about, settings={})

    rest = {name: tuple(x for x in modalities if x != name) for name in modalities}
    prompts = tuple(
        figures("prompts", others, score, name)
        for score in ("volume", "cosine")
        for name, others in rest.items()
        if others
    )
    probe = tuple(figures("probe", each) for each in ((modalities[0],), modalities)[:count])
    return Classification("volume", modalities, 99, 40, False, prompts, probe, ())


def test_a_plot_of_classifiers_has_short_names():
    names = ("an exceedingly long name of a modality, left", "$x_1$", "文字", *"abcdef")
    plot, table = class_blocks(classified(names, 2))
    (panel,) = plot.figure.axes
    shown = [label.get_text() for label in panel.get_yticklabels()][::-1]
    assert shown[0] == "an exceedingly lo… left → rest" and len(shown[0]) == 30
    assert shown[1:3] == [r"\$x_1\$ → rest", "文字 → rest"] and shown[-1] == "all"
    long = names[0]
    dots = [line.get_xydata()[0] for line in panel.get_lines() if line.get_marker() == "o"]
    assert [value for value, _ in sorted(dots, key=lambda dot: -dot[1])] == [
        x.accuracy[1].value for x in classified(names, 2).all
    ]
    lines = np.array([x.get_segments()[0] for x in panel.collections])
    np.testing.assert_array_equal(lines, [[(x - 10, y), (x + 10, y)] for x, y in dots])
    assert table.rows[0][0].text == f"prompts, volume: {long} → rest"
    assert [row[0].text for row in table.rows[-2:]] == [f"probe: {long}", "probe: all"]
    assert [key.label for key in plot.keys][:3] == ["prompts, volume", "prompts, cosine", "probe"]
    assert "groups" in plot.note and "rows" in plot.note and "rows" not in plot.title
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = to_svg(plot.figure, "classes")
    assert "$x_1$ → rest" in svg and "文字" in svg


@pytest.mark.parametrize("modalities", [("W" * 60,), ("W" * 60, "M" * 60), THREE])
def test_long_names_leave_room_for_the_figures(modalities):
    plot, _ = class_blocks(classified(modalities))
    to_svg(plot.figure, "classes")
    (panel,) = plot.figure.axes
    assert panel.get_position().width > 0.3 and panel.get_position().height > 0.3


def test_chance_and_what_no_row_teaches_are_told():
    found = classified(THREE)
    (probe,) = found.probe
    probe = dataclasses.replace(probe, unknown=(7, 9))
    _, table = class_blocks(dataclasses.replace(found, probe=(probe,)))
    assert table.head[0][-1].text == "chance" and {row[-1].text for row in table.rows} == {"33.3"}
    assert table.note.endswith(
        "probe, text: classes 7, 9 have no training row with text, so their test rows count as "
        "wrong."
    )
    assert "wrong" not in class_blocks(found)[1].note

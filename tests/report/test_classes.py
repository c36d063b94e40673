"""The plot of classifiers, whatever their modalities are called."""

import warnings

import pytest

from gramalign.evaluation import ClassFigures, Classification, Estimate
from tests.report.made import THREE

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.classes import class_blocks
from gramalign.report.drawing import to_svg


def classified(modalities, count=1):
    """Figures of prompts under two Scores and of probes."""
    figure = Estimate(50.0, 40.0, 60.0)

    def figures(classifier, of, score="", prompts=""):
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

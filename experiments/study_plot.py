"""The picture of a study: a panel for each figure, a line for each objective."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gramalign.evaluation.comparison import Interval
from gramalign.report.drawing import SIGNS, STROKES, colour

from .studies import Study

_OBJECTIVES = ("gram", "clip", "clip + gram", "log_volume", "height + 0.3*clip", "height")
"""Each has the colour and the marker of its place, in the pictures of all studies."""


def picture(
    study: Study,
    results: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    figures: Sequence[str],
) -> str:
    """An SVG file: means over seeds with their 95 % intervals, as bands or, of names, as bars.

    Of several lines of one objective, all but the first are broken, and their markers hollow.

    Args:
        study: what was varied.
        results: line -> place on the axis -> figure -> its mean.
        figures: one panel each.
    """
    drawing = Figure(figsize=(3.6 * len(figures), 3.4), layout="constrained", facecolor="white")
    places = list(dict.fromkeys(place for line in results.values() for place in line))
    logarithmic, names = study.places == "logarithmic", study.places == "names"
    at = {place: float(place) if logarithmic else i for i, place in enumerate(places)}
    objectives = {line: _objective(study, line) for line in results}
    known = list(dict.fromkeys((*_OBJECTIVES, *objectives.values())))
    strokes = list(STROKES.values())
    panels = drawing.subplots(1, len(figures), squeeze=False)[0]
    for panel, name in zip(panels, figures, strict=True):
        for series, (line, of_line) in enumerate(results.items()):
            found = [figure[name] for figure in of_line.values()]
            x = np.array([at[place] for place in of_line], np.float64)
            means = np.array([each.mean for each in found])
            half = np.nan_to_num([each.half_width for each in found])
            low, high = np.maximum(means - half, 0), np.minimum(means + half, 100)
            place = known.index(objectives[line])
            before = list(objectives.values())[:series].count(objectives[line])
            look = {
                "color": colour(place),
                "marker": list(SIGNS)[place % len(SIGNS)],
                "markersize": 4,
                "markerfacecolor": "white" if before else colour(place),
                "linestyle": "" if names else strokes[before % len(strokes)],
            }
            if names:
                x += 0.16 * (series - (len(results) - 1) / 2)  # side by side
                panel.errorbar(x, means, yerr=[means - low, high - means], label=line, **look)
            else:
                panel.plot(x, means, label=line, **look)
                panel.fill_between(x, low, high, color=colour(place), alpha=0.15, linewidth=0)
        if logarithmic:
            panel.set_xscale("log")
        panel.set_xticks(list(at.values()), places, fontsize=8)
        panel.minorticks_off()
        if max(map(len, places)) > 8:
            panel.tick_params("x", rotation=30)
        panel.set_title(name, fontsize=9.5)
        panel.set_xlabel(study.axis, fontsize=9)
        panel.tick_params("y", labelsize=8)
        panel.set_ylim(bottom=0)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    drawing.axes[0].set_ylabel("percent", fontsize=9)
    labels = drawing.axes[0].get_legend_handles_labels()
    wide = min(len(results), 4)  # more do not fit beside each other
    drawing.legend(*labels, loc="outside lower center", ncols=wide, fontsize=9, frameon=False)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": study.axis}):
        drawing.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _objective(study: Study, line: str) -> str:
    """What a line's runs are trained by; where it has none, its own name."""
    configs = (config for configs in study.lines[line].values() for config in configs)
    return next((config.objective for config in configs), line)

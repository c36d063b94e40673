"""Figures in the page's colours: axes to draw on, and their SVG for light and dark.

The frame of a figure takes its colour from the page, whose ink is dark on light or light on dark:
it is drawn in placeholder colours, which the SVG replaces by CSS variables. The data keep their
colours, so that a part may be pixels; every colour of the palettes has a contrast near 3 with
either background, and the colour-blind can tell them apart.
"""

import io
import re
import warnings

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINE = "#010203", "#010204", "#010205"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"}

# After Okabe and Ito, with its light colours darkened and its dark ones lightened.
SERIES = ("#2583c4", "#d8630f", "#0f9d78", "#c2629b", "#b58500", "#7c83d6", "#8c8f96", "#a5694f")
# There may be ten classes: Petroff, "Accessible color sequences for data visualization",
# arXiv 2107.02270.
CLASSES = (
    *("#3f90da", "#d98c00", "#cf3a20", "#7d9190", "#9b55cb"),
    *("#a96b59", "#e76300", "#a0924f", "#717581", "#4fa9ad"),
)
GREYS = ("#7d9190", "#717581")
"""Those of `CLASSES` that stand for no class where a grey stands for all others."""
SIGNS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}
"""Markers that matplotlib draws, and the characters that look like them."""
FILLS = {"■": "", "▤": "-" * 8, "▨": "/" * 8}
"""Characters, and the hatches of matplotlib that look like them."""
STROKES = {"━": "-", "┅": (0, (4, 2)), "┉": (0, (1.2, 1.4)), "╍": (0, (8, 3))}
"""Characters, and the lines of matplotlib that look like them."""


def axes(
    x: str = "", y: str = "", *, width: float = 3.7, height: float = 2.3
) -> tuple[Figure, Axes]:
    """An empty panel.

    Args:
        x: label of the x axis.
        y: label of the y axis.
        width: in inches; a screen shows it at about the size it would have on paper.
        height: in inches.

    Returns:
        The figure, and its axes.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    panel = figure.add_subplot()
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(MUTED)
        panel.spines[side].set_linewidth(0.6)
    panel.tick_params(which="both", labelsize=8, labelcolor=MUTED, color=MUTED, width=0.6, length=3)
    panel.tick_params(which="minor", length=1.5)
    panel.grid(axis="y", color=LINE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.set_xlabel(x, fontsize=8.5, color=INK)
    panel.set_ylabel(y, fontsize=8.5, color=INK)
    return figure, panel


def colour(place: int) -> str:
    """The colour of the series in this place; colours repeat if there are many."""
    return SERIES[place % len(SERIES)]


def stroke(place: int) -> str:
    """The line style of the series in this place: the next of `STROKES` whenever colours repeat."""
    return list(STROKES)[place // len(SERIES) % len(STROKES)]


def fill(place: int) -> str:
    """The fill of the series in this place: the next of `FILLS` whenever colours repeat."""
    return list(FILLS)[place // len(SERIES) % len(FILLS)]


def to_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element to put into a page.

    Args:
        figure: drawn with `axes`.
        name: unique on the page; the prefix of all ids in the figure.

    Returns:
        The element: text stays text, the page sets its size, frames take the page's colours.
    """
    file = io.StringIO()
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        # The page's fonts draw the text, whatever glyphs matplotlib's fonts lack.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text

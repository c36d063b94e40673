"""The page: headlines and sections in one HTML file, without a script or anything to fetch."""

import math
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
import markupsafe

from gramalign.report.blocks import Code, Gallery, Notes, Plot, Section, Table
from gramalign.report.content import sections
from gramalign.report.drawing import to_svg
from gramalign.report.figures import comparison, headlines
from gramalign.report.gathered import Gathered
from gramalign.report.space_map import Projection, check_projections
from gramalign.report.thumbnails import Images, check_images

_KINDS = {Plot: "plot", Table: "table", Code: "code", Notes: "notes", Gallery: "gallery"}


def check_asked(
    names: Sequence[str],
    widths: Sequence[Mapping[str, int]],
    images: Sequence[Images],
    projections: Sequence[Projection],
) -> None:
    """Refuses what `render` cannot show, before the runs are embedded.

    Args:
        names: of the runs.
        widths: of each run's rows, by modality.
        images: as for `render`.
        projections: likewise.

    Raises:
        ValueError: no run, two with one name, pictures that do not fit their modality, a projection
            that is named twice or not installed.
    """
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"runs: got {', '.join(names) or 'none'}, expected at least one, each once"
        )
    check_images(images, widths)
    check_projections(projections)


def render(
    runs: Sequence[Gathered],
    *,
    images: tuple[Images, ...] = (),
    projections: tuple[Projection, ...] = ("pca",),
) -> str:
    """One run, or several side by side, as an HTML page.

    Args:
        runs: at least one; their names differ.
        images: how to show rows of a modality as pictures.
        projections: of the map.

    Returns:
        The page's HTML, complete in itself.

    Raises:
        ValueError: as `check_asked`.
    """
    names, widths = [run.name for run in runs], [run.rows.dims for run in runs]
    check_asked(names, widths, images, projections)
    text = resources.files("gramalign.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (text / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: _KINDS[type(block)]
    environment.filters["svg"] = _Drawn()
    style = markupsafe.Markup((text / "style.css").read_text("utf-8"))
    shown: list[Section] = sections(runs, images=images, projections=projections)
    recalls = [x.recall[1] for run in runs for x in run.evaluation.retrieval]
    return environment.get_template("page.html.jinja").render(
        runs=runs,
        sections=shown,
        headlines=headlines(runs[0].evaluation) if len(runs) == 1 else [],
        matched=not all(map(math.isnan, recalls)),
        comparison=comparison(runs) if len(runs) > 1 else None,
        style=style,
    )


class _Drawn:
    """Turns plots into SVG, each with ids of its own."""

    def __init__(self):
        self._count = 0

    def __call__(self, plot: Plot) -> markupsafe.Markup:
        self._count += 1
        # Text in a figure is generated here; names that users chose are in the page around it.
        svg = to_svg(plot.figure, f"f{self._count}")
        # A screen reader reads this in place of the picture.
        label = f'<svg aria-label="{markupsafe.escape(plot.title)}" '
        return markupsafe.Markup(svg.replace("<svg ", label, 1))

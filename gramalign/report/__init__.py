"""Floor 5: finished runs as one HTML page that needs nothing else.

`gather` reads what a run left in its folder and embeds its rows again; `content` makes plots and
tables from it, section by section; `page` renders them. Plots and template need the packages of the
extra `report`: `check_installed` says so before anything is computed.
"""

from gramalign.extras import check_extra
from gramalign.report.gathered import Gathered, gather

__all__ = ["Gathered", "check_installed", "gather"]


def check_installed() -> None:
    """Raises a ValueError that names the cure if a package of the extra is missing."""
    check_extra("report", "a report", matplotlib="matplotlib", jinja2="jinja2")

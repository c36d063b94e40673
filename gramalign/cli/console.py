"""Where the commands print."""

import rich.console

# Tables are made for this width; a pipe or a file has none of its own and would get 80.
WIDTH = 100

QUIET = rich.console.Console(quiet=True)
"""Prints nowhere."""


def console() -> rich.console.Console:
    """The terminal at its own width, or anything else at the width the tables are made for."""
    found = rich.console.Console(highlight=False)
    return found if found.is_terminal else rich.console.Console(highlight=False, width=WIDTH)

"""Tables for narrow consoles: split into parts below each other, instead of cut off."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Column, Table

_LEAST = 12  # characters of what a row is called, however narrow it is


class Fitted:
    """A table that is printed whole where it fits, and otherwise in parts.

    Each part repeats the label columns, folded if need be. Columns that share the first line of
    their heads stay together where they fit; otherwise each part repeats that line.

    Args:
        table: the table; its heads must be text.
        labels: how many of its first columns are labels, which say what a row is.
    """

    def __init__(self, table: Table, labels: int = 1):
        self._table = table
        self._labels, self._others = table.columns[:labels], table.columns[labels:]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yields as many tables as it takes."""
        if _fits(self._table, console, options):
            yield self._table
            return
        parts: list[list[Column]] = []
        for group in _groups(self._others):
            together = self._fits(group, console, options)
            for some in [group] if together else [[column] for column in group]:
                if parts and self._fits([*parts[-1], *some], console, options):
                    parts[-1] += some
                else:
                    parts.append([*some])
        yield from _apart([self._of(part, options) for part in parts])

    def _fits(self, columns: list[Column], console: Console, options: ConsoleOptions) -> bool:
        return _fits(self._of(columns, options), console, options)

    def _of(self, columns: Sequence[Column], options: ConsoleOptions) -> Table:
        """A table of the labels and some other columns, in the same rows."""
        whole = self._table
        table = Table(box=whole.box, show_edge=False, pad_edge=False, padding=whole.padding)
        most = max(_LEAST, options.max_width // 3)
        for label in self._labels:
            table.add_column(label.header, style=label.style, overflow="fold", max_width=most)
        for place, column in enumerate(columns):
            head = self._repeated(column) if place == 0 else column.header
            table.add_column(
                head,
                justify=column.justify,
                style=column.style,
                overflow=column.overflow,
                no_wrap=column.no_wrap,
            )
        for row, *cells in zip(
            whole.rows, *(x.cells for x in (*self._labels, *columns)), strict=True
        ):
            table.add_row(*cells, style=row.style, end_section=row.end_section)
        return table

    def _repeated(self, column: Column) -> RenderableType:
        """A column's head with the line that stands over it and those before it."""
        (group,) = (each for each in _groups(self._others) if column in each)
        line, *more = str(column.header).split("\n")
        shared = str(group[0].header).split("\n")[0]
        return column.header if line or not more else "\n".join([shared, *more])


class Beside:
    """Tables side by side where they fit, and otherwise below each other.

    Args:
        columns: the tables of each column, from top to bottom.
    """

    def __init__(self, *columns: Sequence[Table]):
        self._columns = columns

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yields a grid, or the tables."""
        grid = Table.grid(padding=(0, 3))
        grid.add_row(*(Group(*_apart(column)) for column in self._columns))
        if _fits(grid, console, options):
            yield grid
        else:
            yield from _apart([Fitted(table) for column in self._columns for table in column])


def _apart(bodies: Sequence[RenderableType]) -> list[RenderableType]:
    """With an empty line between each and the next."""
    return [part for body in bodies for part in (body, "")][:-1]


def _fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    wide = options.update(max_width=10_000)
    return console.measure(table, options=wide).maximum <= options.max_width


def _groups(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Columns that go together: those whose head begins with an empty line, and the one before."""
    group: list[Column] = []
    for column in columns:
        if group and not str(column.header).startswith("\n"):
            yield group
            group = []
        group.append(column)
    if group:
        yield group

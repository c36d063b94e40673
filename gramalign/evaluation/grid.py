"""A table as plain data, and its three forms: for the console, for Markdown and for LaTeX."""

import re
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gramalign.counted import counted
from gramalign.evaluation.fitted import Fitted


@dataclass(frozen=True)
class Cell:
    """One cell; `mark` is a sign after its text that the caption explains."""

    text: str
    mark: Literal["", "*", "~"] = ""
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows.
        columns: names; the first `labels` of them say what a row is, the others hold figures.
        rows: one cell for each column.
        caption: what the figures and marks mean.
        labels: number of columns that say what a row is.

    Raises:
        ValueError: a row with another number of cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    labels: int = 1

    def __post_init__(self):
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows[{number}]: got {counted(len(row), 'cell')}, expected one for each of "
                    f"the {counted(len(self.columns), 'column')}"
                )


def _phrases(name: str) -> list[str]:
    """The lines of the head of a column of figures.

    >>> _phrases("rest -> one R@1, own")
    ['rest -> one', 'R@1', 'own']
    """
    return name.replace(" R@1", "\nR@1").replace(", ", "\n").split("\n")


def to_rich(grid: Grid) -> Group:
    """For `rich.console.Console.print`: in parts where it is wider than the console."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    marked = [any(row[place].mark for row in grid.rows) for place in range(len(grid.columns))]
    for place, name in enumerate(grid.columns):
        if place < grid.labels:
            table.add_column(Text(name), overflow="fold")
        else:  # a phrase a line, so that many fit beside the labels
            header = Text("\n".join(_phrases(name)))
            table.add_column(header, justify="right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(_text(*each) for each in zip(row, marked, strict=True)))
    caption = [Text(grid.caption)] if grid.caption else []
    return Group(Text(grid.title, style="bold"), Fitted(table, grid.labels), *caption)


def _text(cell: Cell, marked: bool) -> Text | Padding:
    text = Text(cell.text + cell.mark, style="bold" if cell.bold else "")
    # Figures stay aligned; of a space in the text itself rich would let go.
    return Padding(text, (0, 1, 0, 0)) if marked and not cell.mark else text


def to_markdown(grid: Grid) -> str:
    """A pipe table between its title and its caption, in GitHub's Markdown."""
    sides = ["---" if place < grid.labels else "---:" for place in range(len(grid.columns))]
    lines = [[_markdown(name) for name in grid.columns], sides]
    lines += [[_markdown_cell(cell) for cell in row] for row in grid.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join(
        filter(None, [f"**{_markdown(grid.title)}**", table, _markdown(grid.caption)])
    )


def _markdown_cell(cell: Cell) -> str:
    text = _markdown(cell.text)
    return f"{f'**{text}**' if cell.bold and text else text}{_markdown(cell.mark)}"


def _markdown(text: str) -> str:
    r"""Escapes text, so that Markdown shows it as it is.

    >>> print(_markdown("0.3*log_volume | <b>"))
    0.3\*log\_volume \| &lt;b&gt;
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)
    return re.sub(r"\s+", " ", text)


def to_latex(grid: Grid) -> str:
    """A `table` for pdfLaTeX and its successors.

    Uses the rules of booktabs; graphicx shrinks it to the text width if it is wider.
    """
    columns = "".join("l" if place < grid.labels else "r" for place in range(len(grid.columns)))
    lines = [" & ".join(map(_latex_head, grid.columns))]
    lines += [" & ".join(_latex_cell(cell) for cell in row) for row in grid.rows]
    # LaTeX would take what follows the end of a row for its option.
    head, *body = [("{}" if line[0] in "[*" else "") + line + r" \\" for line in lines]
    title = _latex(grid.title)
    caption = f"{title}. {_latex(grid.caption)}" if grid.caption else title
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _latex_head(name: str) -> str:
    lines = [_latex(line) for line in _phrases(name)]
    stacked = r"\\".join(lines)
    return rf"\shortstack[r]{{{stacked}}}" if len(lines) > 1 else stacked


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    if cell.bold and text:
        text = rf"\textbf{{{text}}}"
    return f"{text}$^{{{_LATEX_MARKS[cell.mark]}}}$" if cell.mark else text


_LATEX_MARKS = {"*": "*", "~": r"\sim"}

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "->": r"$\rightarrow$",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _latex(text: str) -> str:
    r"""Escapes text, so that LaTeX shows it as it is.

    >>> print(_latex("rest -> one, 95 % of a_b"))
    rest $\rightarrow$ one, 95 \% of a\_b
    """
    text = re.sub(r"->|[\\~^±<>|&%$#_{}]", lambda found: _LATEX[found[0]], text)
    return re.sub(r"\s+", " ", text)

"""`gramalign methods`: what objectives and Scores there are, and all about one of them."""

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import rich.console
import rich.table
import rich.text
import tyro

from gramalign.cli.console import console
from gramalign.methods import FIELDS, Method, methods, named

_KINDS = {"objective": "objective", "score": "Score"}
_WIDE = 110  # columns from which there is room for what a method needs


@dataclass(frozen=True)
class Methods:
    """List all objectives and Scores, or explain one of them.

    An explanation has formula, source, needs, cost, where it is not differentiable, what it is
    blind to, and the settings of its term. Example: `gramalign methods gram`.
    """

    name: tyro.conf.Positional[str | None] = None
    """Objective or Score to explain."""
    json: bool = False
    """Print everything as JSON."""
    markdown: bool = False
    """Print the tables of docs/methods.md."""

    def run(self) -> None:
        """Print."""
        found = methods() if self.name is None else named(self.name)
        if self.json:
            written = json.dumps([dataclasses.asdict(method) for method in found], indent=2)
            console().print(written, soft_wrap=True)
        elif self.markdown:
            console().print(markdown(found), soft_wrap=True)
        elif self.name is None:
            screen = console()
            screen.print(overview(found, wide=screen.width >= _WIDE))
            screen.print("\nFor one of them in full, with its formula: gramalign methods NAME")
        else:
            screen = console()
            for number, method in enumerate(found):
                screen.print("\n" * bool(number), end="")
                explain(method, screen)


def overview(found: Sequence[Method], *, wide: bool) -> rich.table.Table:
    """A line for each method."""
    table = rich.table.Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for kind, members in _by_kind(found):
        if table.row_count:
            table.add_row()
        table.add_row(f"{_KINDS[kind]}s", "", *(["needs"] * wide), style="bold")
        for method in members:
            table.add_row(method.name, method.what, *([method.needs] * wide))
    return table


def explain(method: Method, screen: rich.console.Console) -> None:
    """Print all about a method."""
    title = f"{method.name} ({_KINDS[method.kind]}): {method.what}."
    screen.print(rich.text.Text(title, style="bold"))
    # Formulas keep their lines, on however narrow a terminal.
    verbatim = rich.text.Text(textwrap.indent(method.formula, "    "))
    screen.print("", verbatim, "", sep="\n", soft_wrap=True)
    for paragraph in filter(None, method.text.split("\n\n")):
        formula = paragraph.startswith(" ")
        text = rich.text.Text(paragraph if formula else " ".join(paragraph.split()))
        screen.print(text, "", sep="\n", soft_wrap=formula)
    facts = rich.table.Table.grid(padding=(0, 2, 0, 0))
    for field in FIELDS:
        value = getattr(method, field.lower().replace(" ", "_"))
        facts.add_row(field, rich.text.Text(value))
    facts.add_row("Python", method.python)
    if method.score:
        facts.add_row("trains the Score", method.score)
    screen.print(facts)
    if method.settings:
        screen.print("", _settings(method), sep="\n")


def _settings(method: Method) -> rich.table.Table:
    table = rich.table.Table(
        "setting", "type", "default", "", box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    table.columns[0].no_wrap = True
    for each in method.settings:
        option = f"--{method.name}.{each.name}".replace("_", "-")
        other = f" (Python: {each.python})" if each.python != each.default else ""
        default = f"{each.default}{other}"
        table.add_row(option, *map(rich.text.Text, (each.type, default, each.help)))
    return table


def markdown(found: Sequence[Method]) -> str:
    """A table of the objectives and one of the Scores, for docs/methods.md."""
    tables = []
    for kind, members in _by_kind(found):
        rows = [(_KINDS[kind], "what it is", "needs", "blind spot", "source"), ("---",) * 5]
        rows += [
            (f"`{m.name}`", *(_cell(x) for x in (m.what, m.needs, m.blind_spot, m.source)))
            for m in members
        ]
        tables.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(tables)


def _cell(text: str) -> str:
    text = text.replace("|", r"\|").removesuffix(".")
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def _by_kind(found: Sequence[Method]) -> Iterator[tuple[str, list[Method]]]:
    for kind in _KINDS:
        if members := [method for method in found if method.kind == kind]:
            yield kind, members

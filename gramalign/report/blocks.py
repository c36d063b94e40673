"""The parts of a report's sections: plots, tables, galleries, pieces of text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Key:
    """A line of a legend.

    Attributes:
        label: what it stands for.
        colour: of its sign.
        sign: the character shown before the label, such as a disc or a dash.
    """

    label: str
    colour: str
    sign: str = "━"


@dataclass(frozen=True)
class Plot:
    """One panel.

    Its legend is text of the page, not of the figure: it wraps on a narrow screen, and no name of a
    modality is ever read as markup. `large` is for plots that need more room than curves.
    """

    title: str
    figure: "Figure"
    keys: tuple[Key, ...] = ()
    note: str = ""
    large: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `back` and `ink` are colours, `strong` is for emphasis."""

    text: str
    back: str = ""
    ink: str = ""
    strong: bool = False
    quiet: bool = False
    head: bool = False
    span: int = 1


@dataclass(frozen=True)
class Table:
    """Rows of cells below rows of headings; the first column names what a row is."""

    title: str
    head: Sequence[Sequence[Cell]]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    heat: bool = False


@dataclass(frozen=True)
class Headline:
    """A large figure in percent, with the figures to compare it with."""

    name: str
    value: float
    marks: tuple[tuple[str, float, str], ...] = ()


@dataclass(frozen=True)
class Code:
    """Text as it is, to be copied; `folded` shows it only when asked."""

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Notes:
    """Sentences, one below the other."""

    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """An example's picture as a PNG in a data URI."""

    modality: str
    uri: str


@dataclass(frozen=True)
class Item:
    """An example in a gallery."""

    id: str
    label: str | None
    pictures: tuple[Picture, ...] = ()
    right: bool = False


@dataclass(frozen=True)
class Failure:
    """A query whose match ranks low, and the candidates before it."""

    task: str
    rank: int
    candidates: int
    query: Item
    above: tuple[Item, ...]


@dataclass(frozen=True)
class Gallery:
    """Failures of one kind, the worst first."""

    title: str
    failures: Sequence[Failure]


Block = Plot | Table | Code | Notes | Gallery


@dataclass(frozen=True)
class Group:
    """The part of a section about one run; about all of them if `title` is empty."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """One question and its answer: `seen` says what is shown and how to read it."""

    id: str
    title: str
    seen: str
    groups: Sequence[Group] = field(default_factory=tuple)

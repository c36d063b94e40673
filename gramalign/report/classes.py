"""The results of `gramalign classify`: accuracies with intervals, and a table of all figures."""

import math

from gramalign.evaluation import ClassFigures, Classification, Estimate
from gramalign.evaluation.classification_table import subject
from gramalign.report.blocks import Block, Cell, Key, Plot, Table
from gramalign.report.drawing import MUTED, axes, colour
from gramalign.report.figures import NONE, percent

_LONGEST = 30  # characters beside a panel; the table has the names in full


def class_blocks(found: Classification) -> list[Block]:
    """A plot of accuracies and a table."""
    return [_plot(found), _table(found)] if found.all else []


def _plot(found: Classification) -> Plot:
    classifiers = found.all
    figure, panel = axes("accuracy in percent", height=0.6 + 0.21 * len(classifiers), width=5.2)
    tints = {kind: colour(i) for i, kind in enumerate(dict.fromkeys(map(_kind, classifiers)))}
    for place, x in enumerate(reversed(classifiers)):
        best, tint = x.accuracy[1], tints[_kind(x)]
        panel.hlines(place, best.low, best.high, color=tint, linewidth=2)
        panel.plot(best.value, place, "o", color=tint, markersize=4)
    # Names may hold text that matplotlib would read as mathematics.
    names = [_short(_subject(x, found)) for x in reversed(classifiers)]
    panel.set_yticks(range(len(classifiers)), [name.replace("$", r"\$") for name in names])
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    majority = classifiers[-1].majority
    keys = [Key(kind, tint, "●") for kind, tint in tints.items()]
    if not math.isnan(majority):
        panel.axvline(majority, color=MUTED, linewidth=0.8)
        keys.append(Key(f"the most frequent class, {majority:.1f}", "var(--muted)", "┃"))
    panel.set_xlim(0, 101)
    note = "Lines: 95 % intervals over test rows, or over their groups where they have any."
    return Plot("Accuracy", figure, tuple(keys), note, large=True)


def _kind(x: ClassFigures) -> str:
    return f"{x.classifier}, {x.score}" if x.score else x.classifier


def _subject(x: ClassFigures, found: Classification) -> str:
    return subject(x, found.modalities).replace("->", "→")


def _short(name: str) -> str:
    """A long name without its middle, as names often share their beginning or end."""
    return name if len(name) <= _LONGEST else f"{name[:17]}…{name[18 - _LONGEST :]}"


def _table(found: Classification) -> Table:
    others = sorted({k for x in found.all for k in x.accuracy if k > 1})
    head = [Cell("classifier"), Cell("rows"), Cell("accuracy")]
    head += [*(Cell(f"top {k}") for k in others), Cell("macro-F1")]
    rows = [
        [
            Cell(f"{_kind(x)}: {_subject(x, found)}"),
            Cell(str(x.rows)),
            Cell(_estimate(x.accuracy[1]), strong=True),
            *(Cell(_estimate(x.accuracy[k]) if k in x.accuracy else NONE) for k in others),
            Cell(_estimate(x.macro_f1)),
        ]
        for x in found.all
    ]
    return Table("In percent, with 95 % intervals", [head], rows)


def _estimate(x: Estimate) -> str:
    if math.isnan(x.value):
        return NONE
    return f"{percent(x.value)} [{percent(x.low)}, {percent(x.high)}]"

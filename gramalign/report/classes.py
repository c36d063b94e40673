"""What `gramalign classify` has measured: accuracies with their intervals, and all in a table."""

from collections.abc import Mapping
from typing import Any

from gramalign.evaluation import ClassFigures, Classification, Estimate
from gramalign.report.blocks import Block, Cell, Key, Plot, Table
from gramalign.report.drawing import MUTED, SERIES, axes
from gramalign.report.figures import percent


def class_blocks(record: Mapping[str, Any] | None) -> list[Block]:
    """A plot of accuracies and a table.

    Args:
        record: what stands in classification.json; None: there is none.
    """
    if record is None:
        return []
    found = Classification.from_json(record)
    return [_plot(found.all), _table(found.all)] if found.all else []


def _plot(classifiers: tuple[ClassFigures, ...]) -> Plot:
    figure, panel = axes("accuracy in percent", height=0.6 + 0.21 * len(classifiers), width=5.2)
    kinds = dict.fromkeys(x.classifier for x in classifiers)
    tints = dict(zip(kinds, SERIES, strict=False))
    for place, x in enumerate(reversed(classifiers)):
        best, tint = x.accuracy[1], tints[x.classifier]
        panel.hlines(place, best.low, best.high, color=tint, linewidth=2)
        panel.plot(best.value, place, "o", color=tint, markersize=4)
    # Names may hold what matplotlib would read as mathematics.
    names = [x.name.replace("$", r"\$") for x in reversed(classifiers)]
    panel.set_yticks(range(len(classifiers)), names)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    majority = classifiers[-1].majority
    keys = [Key(kind, tint, "●") for kind, tint in tints.items()]
    if majority == majority:
        panel.axvline(majority, color=MUTED, linewidth=0.8)
        keys.append(Key(f"the most frequent class, {majority:.1f}", "var(--muted)", "┃"))
    panel.set_xlim(0, 101)
    return Plot("Accuracy, with 95 % intervals over rows", figure, tuple(keys))


def _table(classifiers: tuple[ClassFigures, ...]) -> Table:
    others = sorted({k for x in classifiers for k in x.accuracy if k > 1})
    head = [Cell("classifier"), Cell("rows"), Cell("accuracy")]
    head += [*(Cell(f"top {k}") for k in others), Cell("macro-F1")]
    rows = [
        [
            Cell(x.name),
            Cell(str(x.rows)),
            Cell(_estimate(x.accuracy[1]), strong=True),
            *(Cell(_estimate(x.accuracy[k]) if k in x.accuracy else "–") for k in others),
            Cell(_estimate(x.macro_f1)),
        ]
        for x in classifiers
    ]
    return Table("In percent, with 95 % intervals", [head], rows)


def _estimate(x: Estimate) -> str:
    if x.value != x.value:
        return "–"
    return f"{percent(x.value)} [{percent(x.low)}, {percent(x.high)}]"

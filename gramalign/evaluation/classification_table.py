"""A classification as a rich table, at most 100 columns wide and complete without colour."""

import math
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from gramalign.counted import counted
from gramalign.evaluation.class_figures import ACCURACY_AT, ClassFigures, Estimate
from gramalign.evaluation.classification import Classification
from gramalign.evaluation.labelled import spelt
from gramalign.evaluation.table_parts import percent, plain_table, titled


def classification_table(result: Classification) -> Group:
    """One line per classifier: accuracies and macro-F1, beside chance and the majority class.

    Args:
        result: the figures.

    Returns:
        The table, for `rich.console.Console.print`.
    """
    columns = [k for k in ACCURACY_AT if any(k in each.accuracy for each in result.all)]
    table = plain_table()
    table.add_column("", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    for k in columns:
        bold = "bold" if k == 1 else ""
        table.add_column(f"Acc@{k}", justify="right", no_wrap=True, style=bold)
    table.add_column("macro-F1", justify="right", no_wrap=True)
    table.add_column("chance\nAcc@1", justify="right", no_wrap=True, style="dim")
    table.add_column("majority\nAcc@1", justify="right", no_wrap=True, style="dim")

    def add(title: str, figures: Sequence[ClassFigures]) -> None:
        if not figures:
            return
        if table.row_count:
            table.add_section()
        table.add_row(Text(title), style="italic")
        for each in figures:
            table.add_row(
                Text(f"  {subject(each, result.modalities)}"),
                str(each.rows),
                *(_spread(each.accuracy[k]) if k == 1 else _point(each, k) for k in columns),
                _spread(each.macro_f1),
                percent(each.chance[1]),
                percent(each.majority),
            )

    kind = "given prompts" if result.zero_shot else "prompts"
    for score in dict.fromkeys(each.score for each in result.prompts):
        add(f"{kind}, {score}", [each for each in result.prompts if each.score == score])
    add("linear probe", result.probe)
    add("nearest neighbours", result.neighbours)
    classes = sorted({each.classes for each in result.all})
    notes = [
        f"{' or '.join(map(str, classes))} classes, {counted(result.train_rows, 'training row')}; "
        "in brackets 95 % intervals over test rows, or over their groups where they have any"
    ]
    notes += unknown_classes(result)
    return titled(
        f"Classes of {counted(result.test_rows, 'test row')}: accuracy and macro-F1 in percent",
        table,
        "\n".join(notes),
    )


def unknown_classes(result: Classification) -> list[str]:
    """For each classifier that does not know all classes of the test rows, which, and why."""
    return [
        f"{each.name}: classes {spelt(each.unknown)} have no {_sample(each, result)}, so their "
        "test rows count as wrong"
        for each in result.all
        if each.unknown
    ]


def subject(figures: ClassFigures, modalities: Sequence[str]) -> str:
    """What is classified, and by which prompts: `text -> audio`, `text -> rest`, `text` or `all`.

    Args:
        figures: of a classifier.
        modalities: all modalities of the data.
    """
    of = figures.modalities
    if figures.classifier != "prompts":
        return "all" if len(of) == len(modalities) > 1 else "+".join(of)
    others = [name for name in modalities if name != figures.prompts]
    return f"{figures.prompts} -> {'rest' if len(of) == len(others) > 1 else '+'.join(of)}"


def _sample(figures: ClassFigures, result: Classification) -> str:
    """What the classifier would have known the classes by."""
    if figures.classifier == "prompts" and result.zero_shot:
        return "prompt"
    by = (figures.prompts,) if figures.classifier == "prompts" else figures.modalities
    return f"training row with {' or '.join(by)}"


def _spread(estimate: Estimate) -> str:
    value = percent(estimate.value)
    if math.isnan(estimate.low):  # of no row, or of several of one group
        return value
    return f"{value} [{percent(estimate.low)}, {percent(estimate.high)}]"


def _point(figures: ClassFigures, k: int) -> str:
    return percent(figures.accuracy[k].value) if k in figures.accuracy else ""

"""Training curves: one run's figures by family, or several runs in each panel."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from gramalign.evaluation import correlation_over_checkpoints
from gramalign.report.blocks import Key, Plot
from gramalign.report.drawing import MUTED, STROKES, axes, colour, stroke
from gramalign.report.gathered import Gathered
from gramalign.report.tasks import PAIRS, kinds
from gramalign.training.measure import own_score
from gramalign.training.metrics import Row

Curve = tuple[list[float], list[float]]
"""Steps and values."""

_VALIDATION = "validation/"
_SIDES = re.compile(f"^{_VALIDATION}(one -> rest|rest -> one) R@1(?=, )")
_GEOMETRY = ("matched_volume", "mismatched_volume", "leading_share")


def training_plots(runs: Sequence[Gathered]) -> list[Plot]:
    """Losses, validation, gradients, learned numbers and geometry, by step."""
    logs = {run.name: curves(_distinct(run, alone=len(runs) == 1)) for run in runs}
    if len(runs) > 1:
        return [
            _plot(_titled(name), "", {run: log.get(name, ([], [])) for run, log in logs.items()})
            for name in _shared(list(logs.values()))
        ]
    (run,), (log,) = runs, logs.values()
    plots = []
    for title, unit, members in _families(log):
        best = run.step if unit == "percent" and run.step < run.config.steps else None
        plots.append(_plot(title, unit, {label: log[name] for label, name in members}, best=best))
    return plots


def predictor_plots(runs: Sequence[Gathered]) -> list[Plot]:
    """One run's retrieval at each validation against one minus the GRAM value, as GRAM plots it.

    Nothing if fewer than three validations have both, or the GRAM value stays the same.
    """
    if len(runs) > 1:
        return []
    value, x = f"{_VALIDATION}GRAM value", "1 - GRAM value"
    rows = [{**row, x: 1 - row[value]} for row in _distinct(runs[0], alone=True) if value in row]
    figures = [name for row in rows[:1] for name in row if "R@" in name]
    figure, panel = axes(x, "percent")
    keys = []
    for place, found in enumerate(correlation_over_checkpoints(rows, [x], figures) if rows else ()):
        if math.isnan(found.spearman):
            continue
        both = [(row[x], row[found.outcome]) for row in rows if found.outcome in row]
        panel.plot(*zip(*both, strict=True), "o", color=colour(place), markersize=3)
        label = f"{_called(found.outcome)}: {found.spearman:.2f}"
        keys.append(Key(label, colour(place), "●"))
    if not keys:
        return []
    note = (
        "Numbers: Spearman's rank correlation over the validations of this run, 1 if a larger "
        "value always goes with better retrieval."
    )
    return [Plot("Whether the GRAM value predicts retrieval", figure, tuple(keys), note)]


def _distinct(run: Gathered, *, alone: bool) -> list[Row]:
    """Rows of a run's log, with only the first of figures that are equal by construction.

    With two modalities all tasks are pairs. If the cosine is the objective's own Score, its figures
    occur twice; beside other runs both stay, since those have both.
    """
    pairs = kinds(run.evaluation) == (PAIRS,)
    cosine = alone and own_score(run.config) == "cosine"  # whatever it was evaluated under

    def named(name: str) -> str:
        if not name.startswith(_VALIDATION):
            return name
        if pairs:
            name = _SIDES.sub(f"{_VALIDATION}pair R@1", name)
        return re.sub(", own$", ", cosine", name) if cosine else name

    found = []
    for row in run.metrics:
        distinct: dict[str, float | int] = {}
        for name, value in row.items():
            distinct.setdefault(named(name), value)
        found.append(distinct)
    return found


def timing_plots(runs: Sequence[Gathered]) -> list[Plot]:
    """Throughput by step and, for one run, where its time goes."""
    logs = {run.name: curves(run.timing) for run in runs}
    rates = {
        run if len(runs) > 1 else "examples a second": log.get("examples_per_second", ([], []))
        for run, log in logs.items()
    }
    plots = []
    if any(steps for steps, _ in rates.values()):
        plots.append(_plot("Throughput of each device", "examples a second", rates, floor=True))
    if len(runs) == 1:
        (log,) = logs.values()
        parts = {
            name.removeprefix("seconds/"): log[name] for name in log if name.startswith("seconds/")
        }
        if parts:
            plots.append(_plot("Where a step's time goes", "seconds", parts, log=True))
    return plots


def curves(rows: Iterable[Row]) -> dict[str, Curve]:
    """For each figure in a log, by name, its steps and its values."""
    found: dict[str, Curve] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step":
                steps, values = found.setdefault(name, ([], []))
                steps.append(float(row["step"]))
                values.append(float(value))
    return found


def _families(log: Mapping[str, Curve]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Panels of one run: title, unit, and for each line its label and its name in the log."""
    rest = [name for name in log if name != "skipped" or any(log[name][1])]
    families: list[tuple[str, str, list[tuple[str, str]]]] = []

    def family(title: str, unit: str, members: list[tuple[str, str]]) -> None:
        for _, name in members:
            rest.remove(name)
        if members:
            families.append((title, unit, members))

    terms = [name for name in rest if name.startswith("loss/")]
    # With one term of weight 1, the sum is the term.
    whole = [] if len(terms) == 1 and log[terms[0]] == log.get("loss") else ["loss"]
    if not whole:
        rest.remove("loss")
    losses = [("all, weighted", name) for name in whole if name in rest]
    family("Loss", "", losses + [(name.removeprefix("loss/"), name) for name in terms])
    validated = [name for name in rest if name.startswith(_VALIDATION)]
    recalls = [name for name in validated if "R@" in name]
    family("Validation", "percent", [(_called(name), name) for name in recalls])
    family(
        "Norm of the gradient",
        "",
        [
            (name.partition("/")[2] or "all", name)
            for name in rest
            if name.partition("/")[0] == "grad_norm"
        ],
    )
    family("Tuples of the batch", "", [(_called(name), name) for name in _GEOMETRY if name in rest])
    learned = [name for name in rest if "/" in name and name not in validated]
    for setting in dict.fromkeys(name.partition("/")[0] for name in learned):
        of_it = [name for name in learned if name.partition("/")[0] == setting]
        family(
            f"Learned: {_called(setting)}", "", [(name.partition("/")[2], name) for name in of_it]
        )
    for name in tuple(rest):
        family(_titled(name), "", [(_titled(name), name)])
    return families


def _shared(logs: Sequence[Mapping[str, Curve]]) -> list[str]:
    """The figures that compare several runs: those that two have, losses and validation first.

    Without gradients of single towers, and without skipped steps if there are none.
    """
    names = dict.fromkeys(name for log in logs for name in log)

    def worth(name: str) -> bool:
        having = [log[name] for log in logs if name in log]
        skipped = name != "skipped" or any(any(values) for _, values in having)
        return len(having) > 1 and skipped and not name.startswith("grad_norm/")

    def place(name: str) -> int:
        return 0 if name.startswith("loss") else 1 if name.startswith(_VALIDATION) else 2

    return sorted(filter(worth, names), key=place)


def _called(name: str) -> str:
    """A figure's name for readers; names of modalities and terms stay as they are."""
    kind, _, of = name.partition("/")
    if name.startswith(_VALIDATION):
        return of.replace("->", "→")
    kind = kind.replace("_", " ").replace("grad norm", "norm of the gradient")
    return f"{kind}: {of}" if of else kind


def _titled(name: str) -> str:
    """A figure's name that also says what it was measured on."""
    return f"{_called(name)}, held-out rows" if name.startswith(_VALIDATION) else _called(name)


def _plot(
    title: str,
    unit: str,
    lines: Mapping[str, Curve],
    *,
    best: int | None = None,
    floor: bool = False,
    log: bool = False,
) -> Plot:
    figure, panel = axes("step", unit)
    whole = MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1)
    panel.xaxis.set_major_locator(whole)
    keys = []
    for place, (label, (steps, values)) in enumerate(lines.items()):
        if not steps:  # its colour stays free, so that a run has the same in all panels
            continue
        shown = [value if not log or value > 0 else math.nan for value in values]
        sign, tint = stroke(place), colour(place)
        panel.plot(
            *(steps, shown),
            color=tint,
            linestyle=STROKES[sign],
            linewidth=1.4,
            marker="o" if len(steps) < 25 else "",
            markersize=2.5,
        )
        keys.append(Key(label, tint, sign))
    if log and any(value > 0 for _, values in lines.values() for value in values):
        panel.set_yscale("log")
    if floor:
        panel.set_ylim(bottom=0)
    if best is not None:
        panel.axvline(best, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        keys.append(Key(f"the model's step, {best}", "var(--muted)", "┆"))
    # A single line needs no label besides the title.
    single = len(keys) == 1 and len(lines) == 1
    return Plot(title, figure, () if single and keys[0].label == title else tuple(keys))

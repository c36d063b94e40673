"""Headlines and tables: figures of retrieval beside chance and the linear baseline."""

import itertools
import math
from collections.abc import Sequence

from gramalign.counted import counted
from gramalign.evaluation import Evaluation, Retrieval, table_parts
from gramalign.evaluation.diagnostics_tables import largest_hub
from gramalign.evaluation.hubness import NEIGHBOURS
from gramalign.evaluation.means import mean
from gramalign.evaluation.relevance import NDCG_AT, Relevance
from gramalign.evaluation.retrieval import RECALL_AT
from gramalign.report.blocks import Cell, Headline, Table
from gramalign.report.gathered import Gathered
from gramalign.report.tasks import ONE, PAIRS, REST, kind_of, kinds, scores, tasks

NONE = "–"
_KINDS = {PAIRS: "pair", ONE: "one → rest", REST: "rest → one"}


Asked = frozenset[tuple[tuple[str, ...], tuple[str, ...]]]
"""Tasks that figures are means over, each a query and a gallery."""


def headlines(evaluation: Evaluation) -> list[Headline]:
    """Mean R@1 of each kind of task that exists, under the run's Score and the cosine.

    Both over the tasks that the run's Score has, which are fewer where some were not fused.
    """
    return [
        found
        for score in scores(evaluation)
        for kind in kinds(evaluation)
        if (asked := _asked(evaluation, kind, evaluation.score))
        and (found := _headline(evaluation, kind, score, asked)) is not None
    ]


def _asked(evaluation: Evaluation, kind: str, score: str) -> Asked:
    return frozenset((x.query, x.gallery) for x in tasks(evaluation, kind, score))


def _headline(evaluation: Evaluation, kind: str, score: str, asked: Asked) -> Headline | None:
    """Means over some tasks, the baseline's and chance too."""

    def over(score: str, *, baseline: bool = False) -> list[Retrieval]:
        found = tasks(evaluation, kind, score, baseline=baseline)
        return [x for x in found if (x.query, x.gallery) in asked]

    value = mean([x.recall[1] for x in over(score)])
    if math.isnan(value):
        return None
    chance = mean([x.chance[1] for x in over(score)])
    linear = mean([x.recall[1] for x in over("cosine", baseline=True)])
    marks = [("chance", chance, "var(--muted)"), ("linear GCCA", linear, "var(--mark)")]
    kept = tuple(mark for mark in marks if not math.isnan(mark[1]))
    return Headline(f"{_KINDS[kind]}, {score}", value, kept)


def comparison(runs: Sequence[Gathered]) -> Table:
    """Headlines of several runs, one per row, then the figures to compare them with."""
    columns: dict[str, dict[str, float]] = {}
    over: dict[tuple[str, str], Asked] = {}
    beside: dict[str, dict[str, tuple[int, float]]] = {}
    several = len({(run.data, run.part) for run in runs}) > 1
    stores = {run.name: f"{run.data}, {run.part}" if several else run.data for run in runs}
    for run in runs:
        for called, score in {"its Score": run.evaluation.score, "cosine": "cosine"}.items():
            for kind in kinds(run.evaluation):
                asked = _asked(run.evaluation, kind, score)
                figure = _headline(run.evaluation, kind, score, asked)
                if figure is None:
                    continue
                name = f"{_KINDS[kind]}, {called}"
                columns.setdefault(name, {})[run.name] = figure.value
                over[name, run.name] = asked
                for mark, value, _ in figure.marks:
                    store = f" on {stores[run.name]}" if several else ""
                    shown = beside.setdefault(mark + store, {})
                    if len(asked) > shown.get(name, (0, 0.0))[0]:
                        shown[name] = len(asked), value
    linear = any(run.evaluation.baseline for run in runs)
    names = sorted(columns, key=lambda name: name.endswith("cosine"))

    def best(name: str, run: str) -> float:
        values = [
            value
            for other, value in columns[name].items()
            if (stores[other], over[name, other]) == (stores[run], over[name, run])
        ]
        return max(values) if len(values) > 1 else math.nan  # a run alone has not won

    rows = []
    for run in runs:
        store = stores[run.name]
        values = {name: columns[name].get(run.name) for name in names}
        cells = [
            Cell(percent(x), strong=x is not None and x == best(name, run.name))
            for name, x in values.items()
        ]
        about = run.config.objective, run.evaluation.score, store, f"{run.step}"
        rows.append([Cell(run.name), *(Cell(text, head=True) for text in about), *cells])
    for name, values in beside.items():
        decimals = 2 if name.startswith("chance") else 1
        shown = [values[column][1] if column in values else None for column in names]
        cells = [Cell(percent(x, decimals), quiet=True) for x in shown]
        rows.append([Cell(name, quiet=True), Cell("", span=4), *cells])
    head = [Cell(x, head=True) for x in ("", "objective", "Score", "data", "steps")]
    same = " on the same rows" if several else ""
    note = (
        f"Bold: the best of the runs{same}. Its Score: the one it was evaluated under, the "
        "objective's own unless another was asked for"
    )
    note += "; the linear baseline has only the cosine." if linear else "."
    most: dict[tuple[str, str], int] = {}
    for (name, run), asked in over.items():
        most[name, stores[run]] = max(len(asked), most.get((name, stores[run]), 0))
    fewer = dict.fromkeys(
        run for (name, run), asked in over.items() if len(asked) < most[name, stores[run]]
    )
    if fewer:
        note += f" Only means over the same tasks are compared; of fewer: {', '.join(fewer)}."
    return Table("R@1 in percent", [[*head, *map(Cell, names)]], rows, note)


def heat_maps(run: Gathered) -> list[Table]:
    """R@1 of every ordered pair, query down and gallery across, by Score and by the baseline."""
    evaluation = run.evaluation
    found = [(score, score, False) for score in scores(evaluation)]
    if evaluation.baseline:
        found.append(("linear GCCA, cosine", "cosine", True))
    tables = []
    for title, score, baseline in found:
        results = {
            (x.query[0], x.gallery[0]): x
            for x in tasks(evaluation, PAIRS, score, baseline=baseline)
        }
        if not results:
            continue
        names = evaluation.modalities
        rows = [
            [
                Cell(query),
                *(
                    _heated(results[query, gallery].recall[1])
                    if (query, gallery) in results
                    else Cell("" if query == gallery else NONE, quiet=True)
                    for gallery in names
                ),
            ]
            for query in names
        ]
        average = mean([x.recall[1] for x in results.values()])
        chance = mean([x.chance[1] for x in results.values()])
        note = f"Mean {percent(average)}, chance {percent(chance, 2)}."
        head = [[Cell("query ↓ gallery →"), *map(Cell, names)]]
        tables.append(Table(f"R@1 in percent, {title}", head, rows, note, heat=True))
    return tables


def tuple_table(run: Gathered) -> Table:
    """Whole tuples (with two modalities, pairs) under the run's Score and the cosine."""
    evaluation = run.evaluation
    under = scores(evaluation)
    figures = [*(f"R@{k}" for k in RECALL_AT), "median", "mean", "MRR"]
    last = ["linear GCCA", "chance"] if evaluation.baseline else ["chance"]
    head = [
        [Cell(""), *(Cell(name, span=len(figures)) for name in under), Cell("R@1", span=len(last))],
        [Cell("query → gallery"), *map(Cell, [*figures * len(under), *last])],
    ]
    rows = []
    for kind in kinds(evaluation)[-2:]:
        for first in tasks(evaluation, kind, "cosine"):
            row = [_task(kind, first)]
            for score in under:
                x = evaluation.find(first.query, first.gallery, score)
                row += [Cell(percent(x.recall[k]), strong=k == 1) for k in RECALL_AT]
                row += [Cell(decimal(x.median_rank, 1)), Cell(decimal(x.mean_rank, 1))]
                row += [Cell(decimal(x.mean_reciprocal_rank, 3))]
            if evaluation.baseline:
                linear = evaluation.find(first.query, first.gallery, "cosine", baseline=True)
                row.append(Cell(percent(linear.recall[1]), quiet=True))
            rows.append([*row, Cell(percent(first.chance[1], 2), quiet=True)])
    return Table("Found by each query", head, rows, _queries(evaluation))


def beside_tables(run: Gathered) -> list[Table]:
    """The dual softmax's and re-ranked figures, each beside the plain ones."""
    evaluation = run.evaluation
    figures = (*(f"R@{k}" for k in RECALL_AT), "MRR")
    tables = []
    for name in dict.fromkeys(x.score for x in evaluation.beside):
        called = name.removeprefix(f"{evaluation.score}, ")
        head = [
            [Cell(""), *(Cell(x, span=len(figures)) for x in (evaluation.score, called))],
            [Cell("query → gallery"), *map(Cell, figures * 2)],
        ]
        rows = []
        for kind in kinds(evaluation)[-2:]:
            for x in tasks(evaluation, kind, evaluation.score):
                row = [_task(kind, x)]
                for found in (x, evaluation.find(x.query, x.gallery, name)):
                    row += [Cell(percent(found.recall[k]), strong=k == 1) for k in RECALL_AT]
                    row.append(Cell(decimal(found.mean_reciprocal_rank, 3)))
                rows.append(row)
        tables.append(Table(f"Plain, and {called}", head, rows))
    return tables


def label_table(run: Gathered) -> list[Table]:
    """Retrieval of everything with the query's label; no table without labels."""
    evaluation = run.evaluation
    under = tuple(dict.fromkeys(x.score for x in evaluation.by_label))
    if not under:
        return []
    found = {(x.query, x.gallery, x.score): x for x in evaluation.by_label}
    figures = ("R@1", "MRR", "mAP", f"nDCG@{NDCG_AT}")
    head = [
        [Cell(""), *(Cell(name, span=len(figures)) for name in under), Cell("chance")],
        [Cell("query → gallery"), *map(Cell, figures * len(under)), Cell("mAP")],
    ]
    rows = []
    for kind in kinds(evaluation)[-2:]:
        # A task may have labels to find, and no match: no row has both of its sides.
        for first in (x for x in evaluation.by_label if x.score == under[0] and x.queries):
            if kind_of(first) != kind:
                continue
            results = [found[first.query, first.gallery, name] for name in under]
            row = [_task(kind, first)]
            for x in results:
                row += [Cell(percent(x.recall[1])), Cell(decimal(x.mean_reciprocal_rank, 3))]
                row += [Cell(decimal(x.mean_average_precision, 3), strong=True)]
                row.append(Cell(decimal(x.ndcg, 3)))
            rows.append([*row, Cell(decimal(results[0].chance_average_precision, 3), quiet=True)])
    note = "Everything with the query's label is right, its own example included."
    return [Table("By label", head, rows, note)]


def _task(kind: str, x: Retrieval | Relevance) -> Cell:
    """A task's name in the first column; the tuple of all others is called the rest."""
    if kind == ONE:
        return Cell(f"{x.query[0]} → rest")
    if kind == REST:
        return Cell(f"rest → {x.gallery[0]}")
    return Cell(f"{'+'.join(x.query)} → {'+'.join(x.gallery)}")


def geometry_table(run: Gathered) -> list[Table]:
    """Geometry figures of each modality, and of each pair."""
    figures = run.evaluation.diagnostics
    modalities = [
        [
            Cell(name),
            Cell(decimal(x, 3)),
            Cell(decimal(figures.effective_rank.get(name, math.nan), 1)),
            Cell(decimal(figures.gram_value.get(name, math.nan), 3)),
        ]
        for name, x in figures.uniformity.items()
    ]
    pairs = [
        [
            Cell(f"{x.first} – {x.second}"),
            *(Cell(decimal(x.gap, 3)), Cell(decimal(x.alignment, 3))),
            Cell(percent(100 * x.negative)),
        ]
        for x in figures.pairs
    ]
    return [
        Table(
            "Modalities",
            [[Cell(""), Cell("uniformity"), Cell("effective rank"), Cell("GRAM value")]],
            modalities,
            "Uniformity: 0 if all embeddings are one point, lower the more evenly they spread. "
            "Effective rank: how many directions they use equally. GRAM value: the smallest volume "
            "in the gallery with this modality as anchor, on average.",
        ),
        Table(
            "Pairs",
            [[Cell(""), Cell("gap"), Cell("alignment"), Cell("cosine < 0, %")]],
            pairs,
            "Gap: distance between the two modalities' means. Alignment: mean squared distance "
            "between matched embeddings.",
        ),
    ]


def hubness_table(run: Gathered) -> Table:
    """Skewness of N_k of every ordered pair; without rows if it was not measured."""
    figures, names = run.evaluation.diagnostics, run.evaluation.modalities
    found = {(x.query, x.gallery): decimal(x.skewness, 2) for x in figures.hubness}
    rows = [
        [Cell(query), *(Cell(found.get((query, gallery), "")) for gallery in names)]
        for query in names
    ]
    most = largest_hub(figures)
    return Table(
        "Hubness",
        [[Cell("query ↓ gallery →"), *map(Cell, names)]],
        rows if found else [],
        f"Skewness of how often an item is among the {NEIGHBOURS} nearest by the cosine: 0 if all "
        "equally often, large where a few displace the others."
        + (f" {most[0].upper()}{most[1:]}." if most else ""),
    )


def _queries(evaluation: Evaluation) -> str:
    shown = itertools.product(kinds(evaluation)[-2:], scores(evaluation))
    counts = sorted({x.queries for each in shown for x in tasks(evaluation, *each)})
    if not counts:
        return ""
    least = f"{counts[0]} to " if len(counts) > 1 else ""
    each = f"{least}{counted(counts[-1], 'query')} per row"
    return f"{each}. R@k: percent of queries whose match is among the first k."


def _heated(value: float) -> Cell:
    """A cell coloured from 0 to 100 percent."""
    if math.isnan(value):
        return Cell(NONE, quiet=True)
    return Cell(percent(value), *table_parts.heat_colours(value))


def percent(value: float | None, decimals: int = 1) -> str:
    """A figure in percent, or a dash if it is not known."""
    return NONE if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def decimal(value: float, decimals: int) -> str:
    """A number with a limited number of decimals, or a dash if it is not known."""
    if math.isnan(value):
        return NONE
    exact = decimals == 1 and value == int(value)
    return f"{value:.0f}" if exact else table_parts.decimal(value, decimals)

"""Several objectives over several seeds: means, 95 % intervals, and one table of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from scipy import stats

from gramalign.evaluation.records import to_plain

Summary = Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % t-interval.

    Attributes:
        mean: the mean; NaN where no seed has the figure.
        half_width: the interval is mean - half_width to mean + half_width; NaN below two seeds.
        seeds: number of seeds that have the figure.
    """

    mean: float
    half_width: float
    seeds: int

    def __str__(self) -> str:
        """E.g. `84.2 ± 0.6`, without the interval for one seed."""
        if not self.seeds:
            return "n/a"
        if math.isnan(self.half_width):
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} ± {self.half_width:.1f}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        return to_plain(self)


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval of a figure, one value a seed, under Student's t.

    Args:
        values: one value a seed; NaN values are left out.

    Returns:
        The interval.

    >>> str(interval([84.0, 85.0, 86.0]))
    '85.0 ± 2.5'
    """
    counted = np.array([value for value in values if not math.isnan(value)], np.float64)
    seeds = len(counted)
    if not seeds:
        return Interval(math.nan, math.nan, 0)
    half_width = math.nan
    if seeds > 1:
        standard_error = float(counted.std(ddof=1)) / math.sqrt(seeds)
        half_width = float(stats.t.ppf(0.975, seeds - 1)) * standard_error
    return Interval(float(counted.mean()), half_width, seeds)


def compare(results: Mapping[str, Sequence[Summary]]) -> dict[str, dict[str, Interval]]:
    """Intervals of every figure of every objective.

    Args:
        results: objective -> one summary a seed, e.g. from `Evaluation.summary`.

    Returns:
        objective -> figure -> interval, figures in the order in which they first appear.

    Raises:
        ValueError: no objective, or an objective without a result.
    """
    if not results:
        raise ValueError("results: got no objective, wanted at least one; run one before comparing")
    for objective, summaries in results.items():
        if not summaries:
            raise ValueError(
                f"results[{objective!r}]: got no result; run it with at least one seed, or leave "
                "it out"
            )
    figures = dict.fromkeys(
        name for summaries in results.values() for summary in summaries for name in summary
    )
    return {
        objective: {
            name: interval([summary.get(name, math.nan) for summary in summaries])
            for name in figures
        }
        for objective, summaries in results.items()
    }


def compare_table(
    results: Mapping[str, Sequence[Summary]],
    *,
    scores: Mapping[str, str] | None = None,
    title: str = "R@1 in percent",
) -> Table:
    """Objectives against figures, mean ± half of the 95 % interval; the best mean in bold.

    A baseline or chance is one more objective, with one summary.

    Args:
        results: objective -> one summary a seed; larger figures are better.
        scores: objective -> the name of its own Score, for a column of its own if they differ.
        title: what the figures are.

    Returns:
        The table.

    Raises:
        ValueError: as `compare`.
    """
    compared = compare(results)
    figures = list(next(iter(compared.values())))
    scores = scores or {}
    differ = len(set(scores.values())) > 1
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption="mean ± half-width of the 95 % t-interval over seeds; * the best mean",
        caption_justify="left",
        caption_style="",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("objective", overflow="fold")
    table.add_column("seeds", justify="right", no_wrap=True)
    if differ:
        table.add_column("own\nScore", overflow="fold")
    for name in figures:
        # One phrase a line, so that five figures fit beside the objectives.
        header = name.replace(" R@1", "\nR@1").replace(", ", "\n")
        table.add_column(Text(header), justify="right", overflow="fold")
    best = {
        name: max((row[name].mean for row in compared.values() if row[name].seeds), default=None)
        for name in figures
    }
    for objective, row in compared.items():
        cells = []
        for name in figures:
            leads = row[name].seeds and row[name].mean == best[name] and len(compared) > 1
            cells.append(f"[bold]{row[name]}*[/bold]" if leads else f"{row[name]} ")
        if differ:
            cells = [scores.get(objective, ""), *cells]
        table.add_row(Text(objective), str(len(results[objective])), *cells)
    return table

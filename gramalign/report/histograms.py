"""Histograms of ranks over the queries, and of volumes and leading shares over the tuples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gramalign.counted import counted
from gramalign.evaluation import Retrieval, TupleFigure
from gramalign.report.blocks import Key, Plot
from gramalign.report.drawing import FILLS, MUTED, SERIES, axes, colour, fill
from gramalign.report.figures import decimal
from gramalign.report.gathered import Gathered
from gramalign.report.tasks import kinds, scores, tasks


@dataclass(frozen=True)
class _Ranks:
    """Ranks of all queries of some tasks, with each task's number of queries and gallery size."""

    ranks: np.ndarray
    queries: np.ndarray
    candidates: np.ndarray

    def share(self, low: int, high: int) -> float:
        """The percentage of queries whose match has one of these ranks."""
        return 100 * float(np.mean((self.ranks >= low) & (self.ranks <= high)))

    def chance(self, low: int, high: int) -> float:
        """The same in a random order, which spreads the ranks evenly over each gallery."""
        shares = np.clip(self.candidates - low + 1, 0, high - low + 1) / self.candidates
        return 100 * float(np.average(shares, weights=self.queries))


def rank_plots(runs: Sequence[Gathered]) -> list[Plot]:
    """For each kind of task, the share of its queries whose match has a rank in 1, 2, 3-4, 5-8, ...

    One run's panels show its Score, the cosine and the baseline side by side; those of several runs
    show the runs side by side, each under its Score and under the cosine. Each bar is marked with
    the share in a random order, as galleries differ if runs have other rows or modalities.
    """
    panels: dict[str, dict[str, _Ranks]] = {}
    for run in runs:
        for kind in kinds(run.evaluation):
            for score in scores(run.evaluation):
                found = _pooled(run, list(tasks(run.evaluation, kind, score)))
                if found is None:
                    continue
                if len(runs) == 1:
                    panels.setdefault(kind, {})[score] = found
                    continue
                # A run whose Score is the cosine is in both.
                for under in {"its Score": run.evaluation.score, "cosine": "cosine"}.items():
                    if score == under[1]:
                        panels.setdefault(f"{kind}, {under[0]}", {})[run.name] = found
            if len(runs) == 1:
                beside = list(tasks(run.evaluation, kind, "cosine", baseline=True))
                found = _pooled(run, beside, baseline=True)
                if found is not None:
                    panels.setdefault(kind, {})["linear GCCA"] = found
    places = {run.name: i for i, run in enumerate(runs)} if len(runs) > 1 else {}
    return [_panel(title, series, places) for title, series in panels.items()]


def _pooled(
    run: Gathered, results: Sequence[Retrieval], *, baseline: bool = False
) -> _Ranks | None:
    """Ranks of all queries of some tasks; None if the run's folder does not have them."""
    end = ", baseline" if baseline else ""
    names = [result.name + end for result in results]
    if not names or any(name not in run.ranks for name in names):
        return None
    ranks = np.concatenate([run.ranks[name] for name in names])
    return _Ranks(
        ranks[ranks > 0],
        np.array([result.queries for result in results]),
        np.array([result.candidates for result in results]),
    )


def bins(largest: int, candidates: int) -> list[tuple[int, int]]:
    """First and last rank of each bar.

    From the third on, each holds twice as many as the previous; the last ends with the gallery.

    Args:
        largest: rank that the last bar holds.
        candidates: size of the gallery.

    >>> bins(6, 7)
    [(1, 1), (2, 2), (3, 4), (5, 7)]
    """
    edges = [(1, 1)]
    while edges[-1][1] < largest:
        last = edges[-1][1]
        edges.append((last + 1, min(2 * last, max(candidates, largest))))
    return edges


def _panel(title: str, series: Mapping[str, _Ranks], places: Mapping[str, int]) -> Plot:
    looks = {label: places.get(label, i) for i, label in enumerate(series)}
    keys = [Key(label, colour(place), fill(place)) for label, place in looks.items()]
    largest = max(int(each.ranks.max()) for each in series.values())
    # With groups, galleries differ between queries, and their size is a mean.
    candidates = max(math.ceil(each.candidates.max()) for each in series.values())
    bars = bins(largest, candidates)
    figure, panel = axes("rank of the match", "% of queries")
    width = 0.84 / len(series)
    middles = np.arange(len(bars))
    for i, (key, each) in enumerate(zip(keys, series.values(), strict=True)):
        left = middles - 0.42 + i * width
        shares = [each.share(*bar) for bar in bars]
        hatch = FILLS[key.sign]
        drawn = panel.bar(left, shares, width * 0.94, align="edge", linewidth=0, hatch=hatch)
        for bar in drawn:
            bar.set(facecolor="none" if hatch else key.colour, edgecolor=key.colour)
        chances = [each.chance(*bar) for bar in bars]
        panel.hlines(chances, left, left + width, color=MUTED, linewidth=1)
    labels = [str(low) if low == high else f"{low}–{high}" for low, high in bars]
    slanted = len(bars) > 6
    named = slice(None, None, 2 if len(bars) > 10 else 1)  # every other one if all would overlap
    panel.set_xticks(
        middles[named],
        labels[named],
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
    )
    if slanted:
        for label in panel.get_xticklabels():
            label.set_rotation_mode("anchor")
    panel.tick_params(axis="x", length=0)
    return Plot(title, figure, (*keys, Key("a random order", "var(--muted)")))


def tuple_plots(run: Gathered) -> list[Plot]:
    """Volume and leading share, matched against mismatched; none without a complete tuple."""
    figures, least = run.evaluation.diagnostics, 1 / len(run.evaluation.modalities)
    named = (
        ("Volume of a tuple", "0: all modalities agree; 1: orthogonal", figures.volume, 0.0),
        ("Leading share", f"{least:.2g}: orthogonal; 1: all agree", figures.leading_share, least),
    )
    return [_spread(*each) for each in named if sum(each[2].matched_histogram)]


def _spread(title: str, label: str, values: TupleFigure, least: float) -> Plot:
    figure, panel = axes(label, "density")
    keys = []
    pairs = {
        "matched": (values.matched, values.matched_histogram),
        "mismatched": (values.mismatched, values.mismatched_histogram),
    }
    for (name, (mean, counts)), tint in zip(pairs.items(), SERIES, strict=False):
        if not sum(counts):
            continue
        edges = np.linspace(0, 1, len(counts) + 1)
        heights = np.array(counts) * len(counts) / sum(counts)
        panel.stairs(heights, edges, fill=True, color=tint, alpha=0.35, linewidth=0)
        panel.stairs(heights, edges, color=tint, linewidth=1.2)
        label = f"{name}: mean {decimal(mean, 3)}, {counted(sum(counts), 'tuple')}"
        keys.append(Key(label, tint, "■"))
    panel.set_xlim(least, 1)
    note = ""
    if not math.isnan(values.separation):
        note = (
            f"In {100 * values.separation:.1f} % of all pairs the matched tuple agrees better "
            "(50\u00a0%: the two cannot be told apart)."
        )
    return Plot(title, figure, tuple(keys), note)

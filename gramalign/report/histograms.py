"""How ranks are spread over the queries, and volumes and leading shares over the tuples."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gramalign.evaluation import Retrieval, TupleFigure
from gramalign.report.blocks import Key, Plot
from gramalign.report.drawing import MUTED, SERIES, axes, colour
from gramalign.report.gathered import Gathered
from gramalign.report.tasks import kinds, name_in_ranks, scores, tasks


def rank_plots(runs: Sequence[Gathered]) -> list[Plot]:
    """For each kind of task, the share of its queries whose match has a rank in 1, 2, 3-4, 5-8, ...

    One run's panels set its Score, the cosine and the baseline side by side; those of several runs
    set the runs side by side, under their own Scores and under the cosine.
    """
    panels: dict[str, dict[str, np.ndarray]] = {}
    chances: dict[str, np.ndarray] = {}
    for run in runs:
        for kind in kinds(run.evaluation):
            for score in scores(run.evaluation):
                found = list(tasks(run.evaluation, kind, score))
                ranks = _pooled(run, found)
                if ranks is None:
                    continue
                if len(runs) == 1:
                    panels.setdefault(kind, {})[score] = ranks
                    chances.setdefault(kind, _chance(found))
                    continue
                # A run whose own Score is the cosine stands in both.
                for under in {"own Score": run.evaluation.score, "cosine": "cosine"}.items():
                    if score == under[1]:
                        title = f"{kind}, {under[0]}"
                        panels.setdefault(title, {})[run.name] = ranks
                        chances.setdefault(title, _chance(found))
            if len(runs) == 1:
                beside = list(tasks(run.evaluation, kind, "cosine", baseline=True))
                ranks = _pooled(run, beside, baseline=True)
                if ranks is not None:
                    panels.setdefault(kind, {})["linear GCCA"] = ranks
    tints = {run.name: colour(i) for i, run in enumerate(runs)} if len(runs) > 1 else {}
    return [_ranks(title, series, chances[title], tints) for title, series in panels.items()]


def _pooled(
    run: Gathered, results: Sequence[Retrieval], *, baseline: bool = False
) -> np.ndarray | None:
    """Ranks of all queries of some tasks; None where the run's folder does not hold them."""
    names = [name_in_ranks(result, baseline=baseline) for result in results]
    if not names or any(name not in run.ranks for name in names):
        return None
    ranks = np.concatenate([run.ranks[name] for name in names])
    return ranks[ranks > 0]


def _chance(results: Sequence[Retrieval]) -> np.ndarray:
    """The galleries' sizes, among which a random order spreads the ranks evenly."""
    return np.array([result.candidates for result in results])


def bins(largest: int) -> list[tuple[int, int]]:
    """First and last rank of each bar; each holds twice as many as the one before.

    >>> bins(6)
    [(1, 1), (2, 2), (3, 4), (5, 8)]
    """
    edges = [(1, 1)]
    while edges[-1][1] < largest:
        last = edges[-1][1]
        edges.append((last + 1, 2 * last))
    return edges


def _ranks(
    title: str,
    series: Mapping[str, np.ndarray],
    candidates: np.ndarray,
    tints: Mapping[str, str],
) -> Plot:
    tints = {label: tints.get(label, colour(i)) for i, label in enumerate(series)}
    bars = bins(int(max(ranks.max() for ranks in series.values())))
    figure, panel = axes("rank of the match", "% of queries")
    width = 0.84 / len(series)
    places = np.arange(len(bars))
    for i, (label, ranks) in enumerate(series.items()):
        shares = [100 * np.mean((ranks >= low) & (ranks <= high)) for low, high in bars]
        left = places - 0.42 + i * width
        panel.bar(left, shares, width * 0.94, align="edge", color=tints[label], linewidth=0)
    for place, (low, high) in zip(places, bars, strict=True):
        share = 100 * np.mean(np.clip(candidates - low + 1, 0, high - low + 1) / candidates)
        panel.hlines(share, place - 0.46, place + 0.46, color=MUTED, linewidth=1)
    labels = [str(low) if low == high else f"{low}–{high}" for low, high in bars]
    slanted = len(bars) > 6
    named = slice(None, None, 2 if len(bars) > 10 else 1)  # every other one where all would overlap
    panel.set_xticks(
        places[named],
        labels[named],
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
    )
    if slanted:
        for label in panel.get_xticklabels():
            label.set_rotation_mode("anchor")
    panel.tick_params(axis="x", length=0)
    keys = [Key(label, tint, "■") for label, tint in tints.items()]
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
        keys.append(Key(f"{name}: mean {mean:.3f}, {sum(counts)} tuples", tint, "■"))
    panel.set_xlim(least, 1)
    note = ""
    if not math.isnan(values.separation):
        note = (
            f"In {100 * values.separation:.1f} % of all pairs the matched tuple agrees better "
            "(50 %: they cannot be told apart)."
        )
    return Plot(title, figure, tuple(keys), note)

"""Retrieval under damage: one panel for each curve that `gramalign robustness` has measured."""

from gramalign.evaluation import Robustness
from gramalign.evaluation.robustness import Curve, Point
from gramalign.report.blocks import Key, Plot
from gramalign.report.drawing import MUTED, STROKES, axes, colour

_ABOUT = {
    "missing": ("Missing modalities", "rate"),
    "noise": ("Noise", "standard deviations of the features"),
    "dimensions": ("Dropped dimensions", "share"),
    "precision": ("Precision of stored embeddings", ""),
}


def damage_plots(found: Robustness) -> list[Plot]:
    """R@1 against damage under the run's Score, dashed under the cosine, and for a random order."""
    # Noise on single modalities would add one panel for each.
    whole = [curve for curve in found.curves if len(curve.modalities) == len(found.modalities)]
    return [_panel(found, curve) for curve in whole]


def _panel(found: Robustness, curve: Curve) -> Plot:
    title, label = _ABOUT[curve.kind]
    figure, panel = axes(label, "R@1 in percent")
    even = curve.kind == "precision"
    places = [float(i) if even else point.level for i, point in enumerate(curve.points)]
    keys, drawn = [], False
    for i, task in enumerate(found.tasks):
        for score in dict.fromkeys((found.score, "cosine")):
            name = f"{task} R@1, {score}"
            if not all(name in point.figures for point in curve.points):
                continue
            ranges = [point.figures[name] for point in curve.points]
            sign = "┅" if score == "cosine" != found.score else "━"
            means = [x.mean for x in ranges]
            panel.plot(places, means, color=colour(i), linestyle=STROKES[sign], linewidth=1.4)
            low, high = [x.least for x in ranges], [x.largest for x in ranges]
            panel.fill_between(places, low, high, color=colour(i), alpha=0.2, linewidth=0)
            label = f"{task.replace('->', '→')}, {score}"
            keys.append(Key(label, colour(i), sign))
            drawn |= low != high
    panel.plot(places, [_chance(point) for point in curve.points], color=MUTED, linewidth=0.8)
    keys.append(Key("pair, a random order", "var(--muted)"))
    if even:
        names = [point.label for point in curve.points]
        panel.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
    panel.set_ylim(0, 102)
    notes = [f"Bands: smallest to largest of {found.repeats} repetitions."] if drawn else []
    if curve.kind == "missing":
        notes.append("Galleries shrink as well: what is missing is neither a query nor a match.")
    return Plot(title, figure, tuple(keys), " ".join(notes))


def _chance(point: Point) -> float:
    return point.figures["pair chance R@1"].mean

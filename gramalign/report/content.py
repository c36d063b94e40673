"""The sections of a report: what each one says and contains."""

from collections.abc import Callable, Sequence

from gramalign.evaluation import FUSED
from gramalign.evaluation.records import K, Kept
from gramalign.report.additions import addition_tables
from gramalign.report.blocks import Block, Cell, Code, Group, Notes, Section, Table
from gramalign.report.classes import class_blocks
from gramalign.report.curves import predictor_plots, timing_plots, training_plots
from gramalign.report.damage import damage_plots
from gramalign.report.failures import galleries
from gramalign.report.figures import (
    beside_tables,
    geometry_table,
    heat_maps,
    hubness_table,
    label_table,
    tuple_table,
)
from gramalign.report.gathered import Gathered
from gramalign.report.histograms import rank_plots, tuple_plots
from gramalign.report.space_map import Projection, map_plots
from gramalign.report.thumbnails import Images, Thumbnails
from gramalign.training import config_to_json
from gramalign.training.measure import own_score


def sections(
    runs: Sequence[Gathered],
    *,
    images: tuple[Images, ...] = (),
    projections: tuple[Projection, ...] = ("pca",),
) -> list[Section]:
    """Everything below the headlines; a section that would be empty is left out.

    Args:
        runs: one run, or several side by side.
        images: how to show rows of a modality as pictures.
        projections: of the map.

    Returns:
        The sections, in reading order.
    """
    found = [
        _origin(runs),
        _training(runs),
        _retrieval(runs),
        _ranks(runs),
        _space(runs),
        _map(runs, projections),
        _failures(runs, images),
        _contribution(runs),
        _robustness(runs),
        _classification(runs),
    ]
    kept = []
    for section in found:
        groups = [group for group in section.groups if group.blocks]
        if groups:
            kept.append(Section(section.id, section.title, section.seen, groups))
    return kept


def _of_each(
    runs: Sequence[Gathered], blocks: Callable[[Gathered], Sequence[Block]]
) -> list[Group]:
    def shown(run: Gathered) -> list[Block]:
        return [x for x in blocks(run) if not isinstance(x, Table) or x.rows]

    return [Group(run.name if len(runs) > 1 else "", shown(run)) for run in runs]


def _origin(runs: Sequence[Gathered]) -> Section:
    def blocks(run: Gathered) -> list[Block]:
        found: list[Block] = [Code("Commands", "\n".join(run.commands))]
        if run.starts:
            found.append(_environment(run))
        return [*found, Code("Config, defaults included", config_to_json(run.config), folded=True)]

    return Section(
        "origin",
        "Where it comes from",
        "The commands that repeat the training and the measurements, what they ran on, and every "
        "setting.",
        _of_each(runs, blocks),
    )


def _environment(run: Gathered) -> Table:
    """One column for each start of the run."""
    columns = []
    for start in run.starts:
        versions = {"Python": start.get("python"), **start.get("versions", {})}
        columns.append(
            {
                "devices": str(start.get("devices", "")),
                "git revision": str(start.get("git") or "not from a repository"),
                "platform": str(start.get("platform", "")),
                "versions": ", ".join(f"{name} {x}" for name, x in versions.items() if x),
            }
        )
    rows = [
        [Cell(name), *(Cell(column[name], head=True) for column in columns)] for name in columns[0]
    ]
    begun = [f"from step {start.get('step', 0)} on" for start in run.starts]

    head = [Cell("", head=True), *(Cell(name, head=True) for name in begun)]
    return Table("Environment", [head] if len(columns) > 1 else [], rows)


def _training(runs: Sequence[Gathered]) -> Section:
    seen = (
        "Losses should fall and level off, and validation should not turn back while they do; "
        "where it does, the model memorises its rows. Gradients that grow or jump are a sign of a "
        "learning rate that is too high."
    )
    if len(runs) > 1:
        seen += (
            " Losses of different objectives have different units. What only one run has logged is "
            "in its own report."
        )
    return Section(
        "training",
        "Training",
        seen,
        [Group("", [*training_plots(runs), *predictor_plots(runs), *timing_plots(runs)])],
    )


def _retrieval(runs: Sequence[Gathered]) -> Section:
    return Section(
        "retrieval",
        "Retrieval",
        "How often a query finds its match. In the heat maps each row is a query's modality: a "
        "dark row is one that finds little, a dark column one that is hard to find. In the tables "
        "R@1, 5 and 10 and the mean reciprocal rank (MRR) should be large, median and mean rank "
        "near 1.",
        _of_each(
            runs,
            lambda run: [*heat_maps(run), tuple_table(run), *beside_tables(run), *label_table(run)],
        ),
    )


def _ranks(runs: Sequence[Gathered]) -> Section:
    seen = (
        "How late matches are found, all queries of a kind together, by ranks 1, 2, 3–4, 5–8 and "
        "so on to the end of the gallery. A good space has all of them at the left; a second peak "
        "at the right is a group of examples that it has not understood."
    )
    if len(runs) > 1:
        seen += " Its Score: the one that a run was evaluated under, as the table of all runs says."
    return Section("ranks", "Ranks", seen, [Group("", rank_plots(runs))])


def _space(runs: Sequence[Gathered]) -> Section:
    return Section(
        "space",
        "Geometry",
        "A matched tuple holds the embeddings of one example; a mismatched one has one modality "
        "from another. The less their histograms overlap, the better the two are told apart: "
        "matched tuples should have a small volume and a large leading share.",
        _of_each(
            runs,
            lambda run: [
                *_warnings(run),
                *tuple_plots(run),
                *geometry_table(run),
                hubness_table(run),
            ],
        ),
    )


def _warnings(run: Gathered) -> list[Block]:
    found = [warning.sentence.replace("->", "→") for warning in run.evaluation.diagnostics.warnings]
    return [Notes("Where this space degenerates", found)] if found else []


def _map(runs: Sequence[Gathered], projections: tuple[Projection, ...]) -> Section:
    return Section(
        "map",
        "Map",
        "Every point is one embedding, every star of lines one example. Short lines mean "
        "well-aligned examples; modalities that lie apart have a gap between them; classes that "
        "separate show that the space knows them. Under a Score that is blind to signs, such as "
        "the volume, opposite points agree as well as near ones.",
        _of_each(runs, lambda run: map_plots(run, projections)),
    )


def _failures(runs: Sequence[Gathered], images: tuple[Images, ...]) -> Section:
    pictures = {run.name: Thumbnails(run.rows, images) for run in runs}
    labelled = any(run.rows.labels is not None for run in runs)
    seen = "The queries whose match was found last, and what was found before it, best first."
    if labelled:
        seen += " Those of the query's class, which are near misses, are framed."
    if any(pictures.values()):
        seen += " Pictures show the example, whichever of its modalities was searched."
    seen += _instead([run.evaluation.score for run in runs])
    groups = _of_each(runs, lambda run: galleries(run, pictures[run.name]))
    return Section("failures", "Worst queries", seen, groups)


def _contribution(runs: Sequence[Gathered]) -> Section:
    return Section(
        "contribution",
        "Contribution",
        "What each modality adds to finding every other: how much more all others find together "
        "than without it, and how much more than the best of them alone. A negative number is a "
        "modality, or a whole tuple, that does harm."
        + _instead([_asked(run, run.contribution) for run in runs]),
        _of_each(runs, lambda run: _measured(run, run.contribution, addition_tables)),
    )


def _robustness(runs: Sequence[Gathered]) -> Section:
    return Section(
        "robustness",
        "Robustness",
        "What remains of the figures as modalities go missing, features grow noisy and embeddings "
        "are stored more coarsely. A space that degrades slowly can be trusted beyond its data."
        + _instead([_asked(run, run.robustness) for run in runs]),
        _of_each(runs, lambda run: _measured(run, run.robustness, damage_plots)),
    )


def _classification(runs: Sequence[Gathered]) -> Section:
    return Section(
        "classification",
        "Classification",
        "What the embeddings know about the classes, which retrieval does not ask for: by prompts, "
        "by linear probes, by nearest neighbours.",
        _of_each(runs, lambda run: _measured(run, run.classification, class_blocks)),
    )


def _instead(scores: Sequence[str]) -> str:
    """What is to be added where a Score that fuses was asked for, and nothing is fused."""
    if FUSED not in scores:
        return ""
    return " Where the Score uses a trained fusion, the cosine stands in for it."


def _asked(run: Gathered, kept: Kept | None) -> str:
    """The Score that another command was to measure; none if it has not."""
    if kept is None:
        return ""
    options = kept.content.get("options", [])
    return options[options.index("--score") + 1] if "--score" in options else own_score(run.config)


def _measured(
    run: Gathered, kept: Kept[K] | None, blocks: Callable[[K], Sequence[Block]]
) -> list[Block]:
    """What another command has measured, after a note if that was on other rows."""
    if kept is None:
        return []
    if (kept.data, kept.part) == (run.data, run.part):
        return [*blocks(kept.figures)]
    rows = f"Measured on {kept.data}, {kept.part}; the evaluation is on {run.data}, {run.part}."
    return [Notes("Other rows", [rows]), *blocks(kept.figures)]

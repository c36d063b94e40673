"""Studies of what a space is learned from: one command each, with its results beside it.

    python -m experiments.study batch-size         8 to 8192 examples a step
    python -m experiments.study modalities         two to eight of them
    python -m experiments.study temperature        0.01 to 0.5, fixed
    python -m experiments.study anchor             each modality, or each in turn
    python -m experiments.study missing            emoji with its gaps, and more of them

Each trains every line of its picture at every place of its axis with several seeds, and writes
experiments/results/NAME.json, .md and .svg. Runs that are there already are not repeated.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import rich.console
import tyro

from gramalign.cli.console import console
from gramalign.cli.errors import explained
from gramalign.cli.evaluate import Evaluate, evaluate_run
from gramalign.cli.in_turn import InTurn
from gramalign.cli.kept_programs import keep_programs
from gramalign.evaluation import Cell, Grid, to_markdown, to_rich
from gramalign.evaluation.comparison import Interval, interval
from gramalign.report import check_installed
from gramalign.training.environment import environment

from .studies import STUDIES, Setup, Study

FIGURES = ("pair R@1, cosine", "one -> rest R@1, own", "rest -> one R@1, own")
"""In percent: means over all modalities, under the cosine and under the Score that is trained."""

Results = Mapping[str, Mapping[str, Mapping[str, Interval]]]
"""Line -> place on the axis -> figure -> its mean over seeds."""


@dataclass(frozen=True)
class Command:
    """Run a study."""

    name: tyro.conf.Positional[Literal[tuple(STUDIES)]]  # pyright: ignore[reportInvalidTypeForm]
    """What is varied."""
    seeds: int = 3
    """Runs of each, with consecutive seeds."""
    out: Path = Path("runs/studies")
    """Folder of the runs."""
    results: Path = Path("experiments/results")
    """Folder of the results."""
    emoji: Annotated[Path | None, tyro.conf.arg(metavar="RAW_DIR")] = None
    """Folder that holds emoji_views.npz and emoji_texts.jsonl, for `missing`."""

    def run(self) -> None:
        """Train what is missing, then write and print the results."""
        check_installed()
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}, expected at least 1")
        out = self.out / self.name
        study = STUDIES[self.name](Setup(out, range(self.seeds), self.emoji))
        keep_programs()
        screen = console()
        results = measured(study, out, screen)
        self.results.mkdir(parents=True, exist_ok=True)
        command = f"python -m experiments.study {self.name}"
        command += " --emoji RAW_DIR" if self.emoji else ""
        command += f" --seeds {self.seeds}" if self.seeds != Command.seeds else ""
        write(study, results, self.results / self.name, command)
        for grid in grids(study, results):
            screen.print(to_rich(grid), "")


def measured(study: Study, out: Path, screen: rich.console.Console) -> Results:
    """Trains and evaluates everything."""
    results: dict[str, dict[str, dict[str, Interval]]] = {}
    with InTurn(study.configs(), screen) as turn:
        for line, places in study.lines.items():
            results[line] = {}
            for place, configs in places.items():
                found = []
                for config in configs:
                    folder = (
                        out / line.replace(" ", "") / place.replace(" ", "-") / f"seed{config.seed}"
                    )
                    label = f"{line}, {study.axis} {place}, seed {config.seed}"
                    run = turn.train(config, folder, label)
                    asked = Evaluate(folder, baseline=False)
                    result = evaluate_run(run, asked, brief=True, say=turn.say)
                    found.append(result.summary(own=True))
                results[line][place] = {
                    name: interval([each[name] for each in found]) for name in FIGURES
                }
    return results


def grids(study: Study, results: Results) -> list[Grid]:
    """A table for each figure: lines against places on the axis."""
    places = list(dict.fromkeys(place for line in results.values() for place in line))
    tables = []
    for name in FIGURES:
        best = {
            place: max(line[place][name].mean for line in results.values() if place in line)
            for place in places
        }
        rows = [
            (Cell(line), *(_cell(of_line.get(place), name, best[place]) for place in places))
            for line, of_line in results.items()
        ]
        columns = ("objective", *places)
        tables.append(Grid(f"{name}, in percent, by {study.axis}", columns, tuple(rows)))
    return tables


def _cell(figures: Mapping[str, Interval] | None, name: str, best: float) -> Cell:
    if figures is None:
        return Cell("")
    return Cell(str(figures[name]), bold=figures[name].mean == best)


def write(study: Study, results: Results, file: Path, command: str) -> None:
    """Leaves the results as JSON, Markdown and a picture, beside each other."""
    from .study_plot import picture

    about = environment()
    seeds = max(len(configs) for places in study.lines.values() for configs in places.values())
    record = {
        "title": study.title,
        "command": command,
        "date": date.today().isoformat(),
        "environment": about,
        "axis": study.axis,
        "seeds": seeds,
        "results": {
            line: {
                place: {name: figure.to_json() for name, figure in figures.items()}
                for place, figures in places.items()
            }
            for line, places in results.items()
        },
    }
    file.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    file.with_suffix(".svg").write_text(picture(study, results, FIGURES))
    versions = f"Python {about['python']}, jax {about['versions']['jax']}, {about['devices']}"
    spread = f"Mean ± half of the 95 % interval over {seeds} seeds" if seeds > 1 else "One seed"
    text = [
        f"# {study.title}",
        study.text,
        f"`{command}`, {record['date']}, {versions}. {spread}; the best of each column in bold.",
        f"![{study.title}]({file.with_suffix('.svg').name})",
        *map(to_markdown, grids(study, results)),
    ]
    file.with_suffix(".md").write_text("\n\n".join(text) + "\n")


def main() -> None:
    command = tyro.cli(Command, prog="python -m experiments.study", description=__doc__)
    with explained("the same command"):
        command.run()


if __name__ == "__main__":
    main()

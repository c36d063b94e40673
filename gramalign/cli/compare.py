"""`gramalign compare`: objectives x seeds on one data set, in one table with intervals."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import rich.progress
import tyro

from gramalign.cli.compiled import compiled_in
from gramalign.cli.console import console
from gramalign.cli.evaluate import ScoreName, evaluate_run, linear_baseline
from gramalign.cli.options import Options
from gramalign.cli.presets import preset
from gramalign.cli.train import default_out
from gramalign.data import load
from gramalign.evaluation import FUSED, compare, compare_table, evaluate
from gramalign.training import train
from gramalign.training.measure import own_score


@dataclass(frozen=True)
class Compare:
    """Train several objectives with several seeds on one data set, and set them side by side.

    All runs share the data split and the budget, and are evaluated under the cosine and one more
    Score. Runs that are there already are not repeated, so an interrupted comparison goes on where
    it stopped, and one under another Score takes seconds.

    Example: `gramalign compare digits --objectives clip gram pmrl "clip + gram" --seeds 5`.
    """

    preset: tyro.conf.Positional[str] = "digits"
    """Start from this file of experiments/ (its name, or a path); the options below change it."""
    objectives: tuple[str, ...] = ("clip", "gram", "pmrl", "clip + gram", "clip + pmrl")
    """Weighted terms, such as "gram + 0.3*clip"."""
    seeds: int = 5
    """Runs of each, with consecutive seeds, from --seed on."""
    score: ScoreName | None = None
    """Score beside the cosine, the same for all; each objective's own if not given."""
    out: Path | None = None
    """Folder of the runs and of compare.json; runs/compare-DATA if not given."""
    config: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def run(self) -> None:
        """Train what is missing, evaluate everything, print the table."""
        if self.seeds < 1 or not self.objectives:
            raise ValueError(
                f"seeds is {self.seeds} and objectives {self.objectives}: wanted at least one each"
            )
        if self.config.objective != preset(self.preset).objective:
            raise ValueError("--objective is for train: name what to compare with --objectives")
        name = default_out(self.preset, self.config).name
        out = self.out or Path("runs") / f"compare-{name}"
        # Seeds differ in data only: each objective is compiled once and then found again.
        compiled_in(out / "compiled")
        screen = console()
        seeds = range(self.config.seed, self.config.seed + self.seeds)
        tasks = [
            dataclasses.replace(self.config, objective=objective, seed=seed)
            for objective in self.objectives
            for seed in seeds
        ]
        # A run's config holds the settings of its own terms only.
        tasks = [dataclasses.replace(task, settings=task.terms) for task in tasks]
        results: dict[str, list[dict[str, float]]] = {task.objective: [] for task in tasks}
        if len(results) < len(self.objectives):
            raise ValueError(f"objectives names one twice: {', '.join(self.objectives)}")
        load(self.config.data).part("test")  # better missed now than after the first run
        with rich.progress.Progress(console=screen) as progress:
            steps = progress.add_task("", total=len(tasks) * self.config.steps)
            for number, config in enumerate(tasks):
                folder = out / config.objective.replace(" ", "") / f"seed{config.seed}"
                label = f"{config.objective}, seed {config.seed}"

                def advance(row, number=number, config=config):
                    progress.update(steps, completed=number * config.steps + row["step"])

                progress.update(steps, description=label, completed=number * config.steps)
                run = train(config, folder, resume=True, report=advance)
                evaluation = evaluate_run(run, score=self.score, baseline=False)
                results[config.objective].append(evaluation.summary(own=self.score is None))
                if not screen.is_terminal:
                    screen.print(f"{number + 1}/{len(tasks)}  {label}")
            progress.update(steps, description="done", completed=len(tasks) * self.config.steps)
        scores = {task.objective: self.score or own_score(task) for task in tasks}
        results |= self._baseline()
        record = {"data": self.config.data, "steps": self.config.steps, "seeds": list(seeds)}
        record |= {"scores": scores}
        intervals = {
            objective: {figure: value.to_json() for figure, value in figures.items()}
            for objective, figures in compare(results).items()
        }
        record |= {"figures": intervals}
        (out / "compare.json").write_text(json.dumps(record, indent=2) + "\n")
        screen.print(compare_table(results, scores=scores))

    def _baseline(self) -> dict[str, list[dict[str, float]]]:
        """The linear baseline as one more row, where the data allow it."""
        store = load(self.config.data)
        if self.config.modalities:
            store = store.only(self.config.modalities)
        rows = store.part("test")
        try:
            embeddings = linear_baseline(store, rows)
        except ValueError:
            return {}
        # It has no Score of its own, and nothing that fuses.
        score = "cosine" if self.score in (None, FUSED) else self.score
        evaluation = evaluate(embeddings, rows.present, score=score, groups=rows.groups)
        return {"linear GCCA": [evaluation.summary(own=self.score is None)]}

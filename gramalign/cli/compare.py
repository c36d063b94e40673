"""`gramalign compare`: objectives x Scores x seeds x data sets, and which differences to trust."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import rich.console
import tyro

from gramalign.cli.console import console, stages_on
from gramalign.cli.evaluate import Evaluate, evaluate_run, linear_baseline
from gramalign.cli.figures import write_figures
from gramalign.cli.in_turn import InTurn
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.options import SharedOptions
from gramalign.cli.score_names import OWN, Scores
from gramalign.cli.train import default_out
from gramalign.cli.tuning import Options, Tuned, chosen, fair_settings, searched, tuning_grid
from gramalign.counted import counted
from gramalign.data import load
from gramalign.evaluation import (
    FUSED,
    Comparison,
    Grid,
    compare,
    evaluate,
    mean_grid,
    rank_grid,
    to_latex,
    to_markdown,
    to_rich,
)
from gramalign.evaluation.comparison import Hits
from gramalign.files import read_json, write_text
from gramalign.training import Config, NonFiniteLoss, Run
from gramalign.training.environment import environment
from gramalign.training.measure import measure, own_score
from gramalign.training.metrics import read_metrics
from gramalign.training.rows import chosen_of
from gramalign.training.run_data import measured_rows, rows_of
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import check_model
from gramalign.training.validating import best_figure
from gramalign.types import Say


class _Task(NamedTuple):
    """An objective on one data set: the config of its first seed, and where its runs are."""

    config: Config
    folder: Path


@dataclass(frozen=True)
class Compare:
    """Train several objectives with several seeds, and compare them on each data set.

    All runs on a data set share its split and the budget, and are evaluated under the cosine and
    any other Scores. Existing runs are not repeated, so an interrupted comparison continues where
    it stopped, and one under other Scores takes seconds. An objective whose training diverges is
    named and left out of the comparison.

    Each objective is tested against the best, query by query; ranks have intervals. All figures are
    in compare.json beside the runs, the tables in compare.md and compare.tex.

    Examples: `gramalign compare digits --objectives clip gram pmrl "clip + gram" --seeds 5`,
    `gramalign compare digits --objectives clip gram --tune temperature=0.03,0.05,0.07,0.1`.
    """

    preset: tyro.conf.Positional[str] = "digits"
    """Preset to start from: a file of experiments/ (name or path); options below override it."""
    data: tuple[str, ...] = ("digits",)
    """Feature stores, each with its own runs and tables: `digits`, the path of a folder or file, or
    a mixture such as "0.7*stores/a.npz + 0.3*stores/b"."""
    objectives: tuple[str, ...] = ("clip", "gram", "pmrl", "clip + gram", "clip + pmrl")
    """Weighted sums of terms, such as "gram + 0.3*clip"; `gramalign methods` lists the terms. Your
    own, a loss or a Term, is named `package.module:name`."""
    scores: Scores = (OWN,)
    """Scores beside the cosine: the same for all objectives, or "own", the one each trains."""
    seeds: int = 5
    """Runs per objective, with consecutive seeds starting at --seed."""
    tune: tuple[str, ...] = ()
    """Options to tune for each objective, such as optimizer.learning-rate=1e-3,3e-3, or
    temperature=0.03,0.07 for all terms that have one. Each combination is trained once, with
    another seed; the best by --validation.figure on held-out rows is compared."""
    out: Path | None = None
    """Folder of runs and tables, with a subfolder for each of several data sets; None:
    runs/compare-DATA."""
    config: Annotated[SharedOptions, tyro.conf.arg(name="")] = field(default_factory=SharedOptions)

    def run(self) -> None:
        """Train what is missing, evaluate everything, print the tables."""
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}, expected at least 1")
        configs = {data: self._configs(data) for data in self.data}
        for name in ("data", "objectives", "scores"):
            found = configs[self.data[0]] if name == "objectives" and self.data else {}
            given = getattr(self, name)
            if not given:
                raise ValueError(f"{name}: got none, expected at least one")
            if len(found or set(given)) < len(given):
                raise ValueError(f"{name} names a value twice: {', '.join(given)}")
        options = searched(self.tune)
        settings = {
            data: fair_settings(each, options) if options else {x: {"": each[x]} for x in each}
            for data, each in configs.items()
        }
        folders = self._folders()
        for data in self.data:  # better missed now than after the first run
            store = load(data, on_bad_record=self.config.on_bad_record)
            measured_rows(store, "test")
            for config in (x for each in settings[data].values() for x in each.values()):
                check_model(config, chosen_of(store, config)[0].dims)
        keep_programs()
        screen = console()
        for data, of_data in configs.items():
            tasks = {
                objective: _Task(config, folders[data] / objective.replace(" ", ""))
                for objective, config in of_data.items()
            }
            diverged: dict[str, str] = {}
            tuned = {}
            if options:
                tuned = self._tuned(tasks, settings[data], options, diverged, screen)
                tasks = {objective: tasks[objective] for objective in tuned}
            tasks |= {
                objective: _Task(
                    dataclasses.replace(
                        settings[data][objective][each.chosen],
                        seed=self.config.seed,
                        validation=self.config.validation,
                    ),
                    tasks[objective].folder / each.chosen,
                )
                for objective, each in tuned.items()
            }
            results = self._results(tasks, diverged, screen)
            self._report(data, folders[data], tasks, results, tuned, diverged, screen)

    def _configs(self, data: str) -> dict[str, Config]:
        """Objective -> the config of its first seed."""
        found: dict[str, Config] = {}
        for objective in self.objectives:
            config = dataclasses.replace(self.config, data=data, objective=objective)
            # A run's config holds the settings of its own terms only.
            config = dataclasses.replace(config, settings=config.terms)
            if FUSED in self.scores and "vast" not in config.terms:
                raise ValueError(
                    f"scores: {FUSED} needs embeddings fused by vast, which {config.objective} "
                    f"does not have; give {OWN}, or only objectives with vast"
                )
            found[config.objective] = config
        return found

    def _folders(self) -> dict[str, Path]:
        """Where each data set's runs are: in the same place, whatever others stand beside it."""
        names = {
            data: default_out(self.preset, dataclasses.replace(self.config, data=data)).name
            for data in self.data
        }
        if len(set(names.values())) < len(names):
            raise ValueError(
                f"data: {', '.join(names)} would share a folder, as their names are "
                f"{', '.join(names.values())}; compare on each separately, with --out"
            )
        if self.out is None:
            return {data: Path("runs") / f"compare-{name}" for data, name in names.items()}
        if len(names) == 1:
            return {self.data[0]: self.out}
        return {data: self.out / name for data, name in names.items()}

    def _tuned(
        self,
        tasks: Mapping[str, _Task],
        settings: Mapping[str, Mapping[str, Config]],
        options: Options,
        diverged: dict[str, str],
        screen: rich.console.Console,
    ) -> dict[str, Tuned]:
        """Tries all settings of all objectives on one data set; notes who diverged under all."""
        found = {}
        with InTurn([x for each in settings.values() for x in each.values()], screen) as turn:
            for objective, of_objective in settings.items():
                tried = {}
                for setting, config in of_objective.items():
                    folder = tasks[objective].folder / "tuning" / setting
                    try:
                        turn.train(config, folder, f"{objective}, {setting}")
                    except NonFiniteLoss:
                        tried[setting] = math.nan
                    else:
                        log = RunFolder(folder).metrics
                        tried[setting] = best_figure(config.validation, read_metrics(log))
                try:
                    lowest = self.config.validation.lowest
                    found[objective] = chosen(tried, options, lowest=lowest)
                except NonFiniteLoss as error:
                    diverged[objective] = str(error)
        return found

    def _results(
        self, tasks: Mapping[str, _Task], diverged: dict[str, str], screen: rich.console.Console
    ) -> dict[str, list[Hits]]:
        """Trains and evaluates all seeds on one data set, the baseline included.

        Notes whose training diverged, by the first of its seeds that did.
        """
        results: dict[str, list[Hits]] = {objective: [] for objective in tasks}
        with InTurn([task.config for task in tasks.values() for _ in self._seeds], screen) as turn:
            for objective, task in tasks.items():
                for seed in self._seeds:
                    config = dataclasses.replace(task.config, seed=seed)
                    folder, label = task.folder / f"seed{seed}", f"{objective}, seed {seed}"
                    try:
                        run = turn.train(config, folder, label)
                        results[objective].append(self._hits(run, turn.say))
                    except NonFiniteLoss as error:
                        diverged.setdefault(objective, f"seed {seed}: {error}")
        results = {name: found for name, found in results.items() if name not in diverged}
        if not results:
            said = (f"{objective}: {why}" for objective, why in diverged.items())
            raise NonFiniteLoss("; ".join(said))
        return results | self._baseline(tasks[next(iter(results))].config, screen)

    def _hits(self, run: Run, say: Say) -> Hits:
        """Of every query of the test part, under all Scores; the run keeps what the first says."""
        rows = rows_of(run, None, "test") if len(self.scores) > 1 else None
        hits: dict = {}
        for place, name in enumerate(self.scores):
            score = None if name == OWN else name
            if place and rows is not None:
                say(f"embedding {counted(len(rows), 'row')}")
                found = measure(run, rows, score=score, neighbours=False, say=say)
            else:
                asked = Evaluate(run.folder, score=score, baseline=False)
                found = evaluate_run(run, asked, brief=True, say=say)
            hits |= found.summary_hits(own=name == OWN)
        return hits

    def _baseline(self, config: Config, screen: rich.console.Console) -> dict[str, list[Hits]]:
        """The linear baseline as one more row, where the data allow it."""
        store = load(config.data, on_bad_record=config.on_bad_record)
        if config.modalities:
            store = store.only(config.modalities)
        rows = measured_rows(store, "test")
        try:
            with stages_on(console(stderr=True)) as say:
                say("linear GCCA: fitting")
                embeddings = linear_baseline(store, rows)
        except ValueError as error:
            screen.print(f"no linear baseline: {error}")
            return {}
        hits: dict = {}
        with stages_on(console(stderr=True)) as say:
            for name in self.scores:
                # It has no Score of its own, and nothing that fuses.
                score = "cosine" if name in (OWN, FUSED) else name
                found = evaluate(
                    embeddings,
                    rows.present,
                    score=score,
                    groups=rows.groups,
                    neighbours=False,
                    say=lambda text: say(f"linear GCCA: {text}"),
                )
                hits |= found.summary_hits(own=name == OWN)
        return {"linear GCCA": [hits]}

    def _report(
        self,
        data: str,
        out: Path,
        tasks: Mapping[str, _Task],
        results: Mapping[str, Sequence[Hits]],
        tuned: Mapping[str, Tuned],
        diverged: Mapping[str, str],
        screen: rich.console.Console,
    ) -> None:
        """Compares, prints the tables and leaves them beside the runs."""
        own = {name: own_score(task.config) for name, task in tasks.items() if name in results}
        rows = measured_rows(load(data, on_bad_record=self.config.on_bad_record), "test")
        with stages_on(console(stderr=True)) as say:
            compared = compare(results, groups=rows.groups, say=say)
        about = {"data": data, "steps": self.config.steps, "seeds": list(self._seeds)}
        about |= {"scores": list(self.scores), "own_scores": own}
        about |= {"date": date.today().isoformat(), "environment": environment()}
        if tuned:
            about["tuned_by"] = self.config.validation.figure
            about["tuned"] = {objective: each.to_json() for objective, each in tuned.items()}
        if diverged:
            about["diverged"] = dict(diverged)
        grids = self._grids(data, compared, own, tuned, diverged)
        for grid in grids:
            screen.print(to_rich(grid), "")
        record = about | compared.to_json()
        if lost := _lost(out / "compare.json", record):
            screen.print(
                f"{out} held a comparison of {', '.join(lost)}, which this one replaces: its runs "
                "are kept, and its own command makes its tables again",
                style="yellow",
                soft_wrap=True,
            )
        write_figures(out / "compare.json", record)
        forms: dict[str, Callable] = {"compare.md": to_markdown, "compare.tex": to_latex}
        for name, form in forms.items():
            write_text(out / name, "\n\n".join(map(form, grids)) + "\n")
        for objective, why in diverged.items():
            said = f"{objective} diverged and was left out. {why}"
            screen.print(said, style="red", soft_wrap=True)
        screen.print(f"wrote {out}: compare.json, {', '.join(forms)}", soft_wrap=True)

    def _grids(
        self,
        data: str,
        compared: Comparison,
        own: Mapping[str, str],
        tuned: Mapping[str, Tuned],
        diverged: Iterable[str],
    ) -> list[Grid]:
        shown = own if OWN in self.scores else None
        where = f" on {data}" if len(self.data) > 1 else ""
        grids = [
            mean_grid(compared, scores=shown, title=f"R@1 in percent{where}"),
            rank_grid(compared, scores=shown, title=f"Ranks by R@1{where}"),
        ]
        if names := ", ".join(diverged):
            note = f"; left out, as training diverged: {names}"
            grids = [dataclasses.replace(each, caption=each.caption + note) for each in grids]
        if tuned:
            title = f"Settings, chosen on held-out rows{where}"
            grids.append(tuning_grid(tuned, self.config.validation.figure, title=title))
        return grids

    @property
    def _seeds(self) -> range:
        return range(self.config.seed, self.config.seed + self.seeds)


def _lost(path: Path, record: Mapping[str, Any]) -> list[str]:
    """What the comparison in a file has and another has not; one of more seeds has all of it."""
    try:
        before = _held(read_json(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of another version
        return []
    now = _held(record)
    left = {name: [x for x in of if x not in now[name]] for name, of in before.items()}
    return [f"{name} {', '.join(map(str, of))}" for name, of in left.items() if of]


def _held(record: Mapping[str, Any]) -> dict[str, list]:
    tried = [setting for each in record.get("tuned", {}).values() for setting in each["tried"]]
    return {
        "data": [record["data"]],
        "steps": [record["steps"]],
        "objectives": [*record["figures"], *record.get("diverged", {})],
        "seeds": record["seeds"],
        "scores": record["scores"],
        "settings": list(dict.fromkeys(tried)) or ["as given"],
    }

"""`gramalign robustness`: how a trained space gives way under growing damage."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro
from flax import nnx

from gramalign.cli.again import options_of
from gramalign.cli.console import console, progress_on
from gramalign.cli.evaluate import Part
from gramalign.cli.figures import folder_for, write_figures
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.score_names import OneScore
from gramalign.data import FeatureStore
from gramalign.data.opening import from_arrays
from gramalign.evaluation import CURVES, FUSED, checked, robustness, robustness_tables
from gramalign.evaluation.inputs import HostEmbeddings, HostPresent
from gramalign.evaluation.robustness import check_repeats
from gramalign.training import Run, embed_store, load_run
from gramalign.training.measure import own_score
from gramalign.training.model import standardised
from gramalign.training.run_data import measured_on, rows_of

if TYPE_CHECKING:
    CurveName = str
else:
    CurveName = Literal[CURVES]


@dataclass(frozen=True)
class Robustness:
    """Measure a run's retrieval with missing modalities, noisy features and coarse embeddings.

    Prints a table per curve, R@1 under the cosine and the run's Score. Writes all figures,
    including the mean reciprocal rank, to robustness.json in the run's folder.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str | None = None
    """Feature store to measure on; None: the one the run was trained on."""
    part: Part = "test"
    """Part of the store to use."""
    score: OneScore = None
    """Score beside the cosine; None: the objective's own, unless fused, which would need new
    embeddings at every point."""
    curves: tuple[CurveName, ...] = CURVES
    """Damage: missing modalities, feature noise (none if a tower takes whole numbers as they are,
    as those of words), dropped dimensions, storage precision."""
    repeats: int = 3
    """Repetitions of everything random."""
    seed: int = 0
    """Seed of the first repetition."""
    out: Path | None = None
    """Folder to write to, say with --data; None: the run's own folder, for its report."""

    def run(self) -> None:
        """Measure, print and write."""
        check_repeats(self.repeats, self.seed)
        keep_programs()
        run, screen = load_run(self.run_folder), console()
        path = folder_for(run.folder, self.out).robustness
        source = self.data or run.config.data
        rows = rows_of(run, self.data, self.part)
        rows = rows.only([name for name in rows.modalities if name in run.dims])
        score = self.score or own_score(run.config)
        if score == FUSED:
            screen.print("cosine only: fused embeddings would have to be recomputed at every point")
            score = "cosine"

        curves = self.curves
        if "noise" in curves and (words := _whole_numbers(run, rows)):
            curves = tuple(curve for curve in curves if curve != "noise")
            said = (
                f"no noise: {', '.join(words)} of whole numbers, as of words, are taken as they are"
            )
            if not curves:
                raise ValueError(f"{said}, and --curves names no others")
            screen.print(said)

        def embed(features: HostEmbeddings, present: HostPresent) -> HostEmbeddings:
            masks = {f"present.{name}": np.asarray(mask) for name, mask in present.items()}
            arrays = {name: np.asarray(values) for name, values in features.items()}
            return embed_store(run, from_arrays({**arrays, **masks}, source=source))

        with progress_on(screen) as progress:
            task = progress.add_task("points", total=None)
            found = robustness(
                checked(embed_store(run, rows), rows.present, rows.groups),
                score,
                curves=curves,
                repeats=self.repeats,
                seed=self.seed,
                features=_floats(rows) if "noise" in curves else None,
                embed=embed,
                report=lambda done, total: progress.update(task, completed=done, total=total),
            )
        asked = dataclasses.replace(self, data=source)
        record = {"data": source, "part": self.part, "options": options_of(asked)}
        record |= measured_on(run, rows) | found.to_json()
        screen.print(robustness_tables(found))
        write_figures(path, record)
        screen.print(f"wrote {path}", soft_wrap=True)


def _floats(rows: FeatureStore) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(x, np.result_type(x.dtype, np.float32))
        for name, x in rows.features.items()
    }


def _whole_numbers(run: Run, rows: FeatureStore) -> list[str]:
    """The modalities whose towers look up whole numbers, which noise would make others of."""
    scaled = standardised(nnx.merge(run.graphdef, run.variables))
    whole = (name for name in rows.modalities if rows.features[name].dtype.kind in "iu")
    return [name for name in whole if name not in scaled]

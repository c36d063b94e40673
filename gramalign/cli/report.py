"""`gramalign report`: finished runs as one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gramalign.cli.again import command_of
from gramalign.cli.console import console
from gramalign.cli.evaluate import evaluate_run, is_evaluated
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.targets import check_file
from gramalign.files import write_text
from gramalign.report import check_installed, gather
from gramalign.report.thumbnails import parse_images
from gramalign.training import load_run
from gramalign.training.run_folder import RunFolder


@dataclass(frozen=True)
class Report:
    """Write a report on a finished run, or on several side by side.

    One HTML file that needs no network: how the run was trained, its curves, retrieval beside
    chance and a linear baseline, ranks, the geometry and a map of the space, and the worst queries.
    A run not evaluated in full (`compare` and studies do so in brief) is evaluated first, on the
    test part. Needs the extra `report`.

    Example: `gramalign report runs/digits`, `gramalign report runs/a runs/b --out both.html`.
    """

    run_folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs."""
    out: Path | None = None
    """File to write; None: report.html in the first run's folder."""
    images: tuple[str, ...] = ()
    """Modalities whose rows are images, as MODALITY:HxW (grey) or MODALITY:HxWx3 (RGB)."""
    map: tuple[Literal["pca", "tsne", "umap"], ...] = ("pca",)
    """Projections of the space, a pair of panels each; tsne takes some seconds more, umap needs the
    package umap-learn."""

    def run(self) -> None:
        """Gather, render, write."""
        check_installed()
        from gramalign.report.page import check_asked, render

        images = tuple(parse_images(text) for text in self.images)
        names = names_of(self.run_folders)
        runs = [load_run(folder) for folder in self.run_folders]
        check_asked(names, [run.dims for run in runs], images, self.map)
        out = self.out or RunFolder(self.run_folders[0]).report
        check_file("--out", out, "report")
        # Where training has left what embeds.
        keep_programs()
        screen = console()
        gathered = []
        for run, name in zip(runs, names, strict=True):
            if not is_evaluated(run):
                screen.print(
                    f"{run.folder} has not been evaluated in full: evaluating it on the test part"
                )
                with screen.status("evaluating"):
                    evaluate_run(run)
            folder = run.folder if run.folder.name else run.folder.resolve()  # of "."
            again = folder.with_name(f"{folder.name}-again")
            with screen.status(f"embedding the rows of {name}"):
                gathered.append(gather(run, name, command_of(run.config, again), again))
        with screen.status("drawing"):
            page = render(gathered, images=images, projections=self.map)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page)
        screen.print(f"wrote {out}: {out.stat().st_size / 2**20:.1f} MiB", soft_wrap=True)


def names_of(folders: Sequence[Path]) -> list[str]:
    """What runs are called: as their folders are, or the whole path where two are called alike."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]

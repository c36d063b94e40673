"""Exports a checkpoint of a run as a finished run in a folder of its own."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any, Literal

import jax
from jaxtyping import PyTree

from gramalign.files import make_folder, whole
from gramalign.training.checkpoint import Saved, saved
from gramalign.training.config import Layout
from gramalign.training.config_json import config_from_dict
from gramalign.training.layout import mesh_of
from gramalign.training.metrics import MetricsLog
from gramalign.training.model import joined
from gramalign.training.params_file import read_about, read_arrays, save_params
from gramalign.training.restore import Run, load_run
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import Start, make_programs


def export(
    run: Path | str, out: Path | str, checkpoint: int | Literal["latest", "best"] = "latest"
) -> Run:
    """Makes a finished run from a checkpoint, whatever devices it was saved from.

    Leaves the source unchanged: that run may still be training, or may have been stopped. One of 0
    steps, which has no checkpoint, is copied: its model is that of step 0, and the latest.

    Args:
        run: folder of the run.
        out: folder to make, with the model, the config and the log up to the checkpoint.
        checkpoint: its step; "latest"; or "best" by the run's validation.

    Returns:
        The run in `out`, ready to embed.

    Raises:
        FileExistsError: `out` holds a run.
        NotADirectoryError: `out` is a file.
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpoint: its files are not what was written.
        ValueError: it holds other arrays than the run's model, whose code has changed.
    """
    source, target = RunFolder(Path(run)), RunFolder(Path(out))
    if target.config.exists():
        raise FileExistsError(f"{target.root} already holds a run: choose another folder")
    if checkpoint in ("latest", 0) and _of_no_steps(source):
        about = read_about(source.params)
        variables = read_arrays(source.params)
    else:
        about, variables = _of_checkpoint(source, saved(source, checkpoint))

    make_folder(target.root)
    for name in ("fixed", "environment", "matched", "metrics", "timing"):
        if getattr(source, name).exists():
            shutil.copyfile(getattr(source, name), getattr(target, name))
    for log in (target.metrics, target.timing):
        with MetricsLog(log, last_step=about["step"]):
            pass  # drops later lines
    save_params(target.params, variables, about)
    # Last, since it marks the folder as a run's: an interrupted export can be repeated.
    with whole(target.config) as draft:
        shutil.copyfile(source.config, draft)
    return load_run(target.root)


def _of_no_steps(source: RunFolder) -> bool:
    return source.params.exists() and source.config.exists() and source.saved_config().steps == 0


def _of_checkpoint(source: RunFolder, found: Saved) -> tuple[dict[str, Any], PyTree]:
    """What the file of a checkpoint's model holds."""
    config = config_from_dict(found.about["config"])
    here = mesh_of(Layout(data=1))
    # The augmentation's file need not exist here, as nothing is trained.
    of_one = dataclasses.replace(config, layout=Layout(data=1), augment=None)
    dims = found.about["dims"]
    start = Start(of_one, dims, None, make_programs(of_one, dims, here), source)
    params = jax.device_get(found.params(start.abstract))
    about = {name: x for name, x in found.about.items() if name != "environment"}
    return about | {"step": found.step}, joined(start.graphdef, params, start.fixed)

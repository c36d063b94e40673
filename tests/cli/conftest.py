"""Settings for tests of commands, and one small run that they share."""

from functools import cache

import numpy as np
import pytest

from gramalign.cli import main
from tests.compiled import kept_programs as kept_programs

SMALL = ["--steps", "30", "--optimizer.warmup", "3", "--batch-size", "16", "--log-every", "10"]
SMALL += ["--model.dim", "8", "--model.hidden", "16", "--checkpoint-every", "15"]


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """120 labelled examples of three views of four hidden numbers, one view often absent."""
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(120, 4))
    for name, width in (("sound", 6), ("text", 7), ("video", 9)):
        view = np.tanh(hidden @ rng.normal(size=(4, width)))
        np.save(folder / f"{name}.npy", view.astype(np.float32))
    np.save(folder / "present.sound.npy", rng.random(120) < 0.8)
    np.save(folder / "ids.npy", np.array([f"row{i}" for i in range(120)]))
    np.save(folder / "labels.npy", (hidden[:, 0] > 0) + 2 * (hidden[:, 1] > 0))
    return folder


@cache
def trained(store, out):
    """Once for all modules."""
    main(
        ["train", "--data", str(store), "--out", str(out), "--no-evaluation", *SMALL]
        + ["--gram.label-smoothing", "0.05", "--gram.anchor", "text"]
    )
    return out


# Not for the session: it would train before the module keeps its programs.
@pytest.fixture(scope="module")
def run(store):
    """A run trained on that store through the command line."""
    return trained(store, store.parent / "runs" / "small")


@pytest.fixture
def small():
    """Options of a small run."""
    return SMALL

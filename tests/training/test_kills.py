"""A run is killed again and again, at moments of no one's choosing, and loses nothing."""

import os
import random
import time

import pytest

from gramalign.training import train
from gramalign.training.metrics import read_metrics
from tests.training.commands import assert_same_run, started

KILLS = int(os.environ.get("GRAMALIGN_KILLS", "2"))
STEPS = 80


def reached(folder):
    """The last step in the log of a run."""
    log = folder / "metrics.jsonl"
    return max((row["step"] for row in read_metrics(log)), default=0) if log.exists() else 0


@pytest.mark.slow
def test_kills_at_random_moments(small_config, tmp_path, quiet):
    """GRAMALIGN_KILLS times, by a thread that kills when the run has come to a random step."""
    config = small_config(steps=STEPS, checkpoint_every=10, log_every=1)
    whole = train(config, tmp_path / "whole", report=quiet).folder
    rng, folder, killed = random.Random(0), tmp_path / "run", []
    for step in sorted(rng.sample(range(STEPS - 30), KILLS)):
        process = started(config, folder, "--resume")
        while reached(folder) < step and process.poll() is None:
            time.sleep(0.002)
        time.sleep(0.02 * rng.random())
        process.kill()
        printed, _ = process.communicate()
        assert process.returncode == -9, printed
        killed.append(reached(folder))
    assert len(killed) == KILLS
    process = started(config, folder, "--resume")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert_same_run(folder, whole)
    print(f"killed at {killed}")

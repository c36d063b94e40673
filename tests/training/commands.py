"""Runs that end early, and runs of the command line, to the same bits as in a test."""

import dataclasses
import os
import sys

import pytest
import safetensors.numpy

from gramalign.training import config_to_json, train
from tests.processes import launched


class Killed(Exception):
    """What ends a run in the middle."""


def train_until(step, config, folder, **options):
    """Trains to a step, where the run ends as if it were killed."""

    def report(row):
        if row["step"] == step and "loss" in row:
            raise Killed

    with pytest.raises(Killed):
        train(config, folder, report=report, **options)


def untrained(config):
    """Without a step, which would be compiled: for tests of a run that need not have learned."""
    optimizer = dataclasses.replace(config.optimizer, warmup=0)
    return dataclasses.replace(config, optimizer=optimizer, steps=0)


def arrays(folder):
    """The weights of a run."""
    return safetensors.numpy.load_file(folder / "params.safetensors")


def preset(config, folder):
    """The file of a preset, for the command line."""
    path = folder / "preset.py"
    text = config_to_json(config)
    path.write_text(
        f"from gramalign.training import config_from_json\nconfig = config_from_json({text!r})\n"
    )
    return path


def started(config, folder, *options, file_size="unlimited", devices=8):
    """A process that trains, with what it prints as `stdout`; no file may grow over some kB."""
    env = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    # It may end while it writes a compiled program, of which others would find only a part.
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "1e9"
    limited = ["bash", "-c", f'ulimit -f {file_size}; exec "$@"', "bash"]
    command = [sys.executable, "-m", "gramalign", "train", preset(config, folder.parent)]
    command += ["--out", folder, "--no-evaluation", *options]
    return launched(limited + command, **os.environ | env)


def wait_for(process, text):
    """Reads what a process prints until a line holds the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"no {text!r} in {''.join(lines)}")


def assert_same_run(folder, whole):
    """That two runs have come to the same bits, and told the same."""
    for name in ("params.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name

"""What a run tells while it runs, besides its log."""

import time

import pytest

from gramalign.training import train
from gramalign.training.metrics import read_metrics
from gramalign.training.profile import Profile
from gramalign.training.timing import Timing
from tests.training.commands import train_until


def test_timing_adds_up(monkeypatch):
    clock = iter([0.0, 1.0, 1.5, 2.0, 4.0, 5.0, 9.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    timing = Timing(batch_size=8, devices=2)
    with timing.on("input"):
        pass
    timing.step()
    with timing.on("compute"):
        pass
    timing.step()
    row = timing.row(2)
    assert row["seconds"] == 2.5  # 5 seconds, two steps
    assert row["seconds/input"] == 0.25 and row["seconds/compute"] == 1.0
    assert row["seconds/other"] == 1.25
    assert row["examples_per_second"] == 8 * 2 / 5 / 2
    assert row["memory/host"] > 0
    timing.step()
    assert "seconds/input" not in timing.row(3)  # counted anew


@pytest.fixture(scope="module")
def traced(small_config, tmp_path_factory, quiet):
    """The folder of a run of which some steps are traced."""
    folder = tmp_path_factory.mktemp("traced")
    return train(small_config(), folder, report=quiet, profile=(3, 5)).folder


def test_the_log_of_time(traced):
    rows = read_metrics(traced / "timing.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    for row in rows:
        parts = sum(x for name, x in row.items() if name.startswith("seconds/"))
        assert parts == pytest.approx(row["seconds"], rel=1e-6)
        assert row["seconds/compute"] > 0 and row["seconds/input"] > 0


def test_tensorboard(small_config, tmp_path, quiet):
    """The values of the log, each once, though the run was broken off after step 10."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    config = small_config(writers=("tensorboard",))
    train_until(10, config, tmp_path)
    train(config, tmp_path, resume=True, report=quiet)
    events = []
    for path in sorted((tmp_path / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            events.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    # What is struck out begins behind the checkpoint: of one step TensorBoard keeps what was there.
    assert [event.step for event in events if event.HasField("session_log")] == [9]
    losses = {
        event.step: value.simple_value
        for event in events
        for value in event.summary.value
        if value.tag == "loss"
    }
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert losses == pytest.approx({row["step"]: row["loss"] for row in rows})
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"examples_per_second", "grad_norm/text", "seconds/input"} <= tags


def test_wandb(small_config, tmp_path, quiet, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    config = small_config(writers=("wandb",))
    train(config, tmp_path, report=quiet)
    (kept,) = (tmp_path / "wandb").glob("offline-run-*")
    (binary,) = kept.glob("*.wandb")
    assert (tmp_path / "wandb-id").read_text() in binary.name
    assert b"grad_norm/text" in binary.read_bytes()


def test_a_writer_that_is_not_installed(small_config, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'gramalign\[wandb\]'"):
        train(small_config(writers=("wandb",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_trace_of_some_steps(traced):
    traces = list((traced / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000


@pytest.mark.parametrize("steps", [(5, 3), (0, 3), (11, 12)])
def test_a_trace_of_no_steps(tmp_path, steps):
    with pytest.raises(ValueError, match="first and the last step to trace, of 10 steps"):
        Profile(tmp_path, steps, of=10)

"""What a run tells while it runs, besides its log."""

import collections
import contextlib
import resource
import sys
import time
import types
import unittest.mock

import jax
import pytest

from gramalign.training import Gram, Optimizer, train
from gramalign.training.log import opened
from gramalign.training.metrics import read_metrics
from gramalign.training.profile import Profile
from gramalign.training.run_folder import RunFolder
from gramalign.training.timing import Timing
from gramalign.training.writers import WRITERS
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


@pytest.fixture
def tensorboard():
    """Opens it as in a process that is killed, which closes nothing."""
    pytest.importorskip("tensorboardX")
    with contextlib.ExitStack() as left:
        opened = WRITERS["tensorboard"]
        yield lambda *about: contextlib.nullcontext(left.enter_context(opened(*about)))


def curves(folder):
    """Steps and values of each tag, as TensorBoard shows them."""
    from tensorboardX.proto.event_pb2 import Event

    found = collections.defaultdict(list)
    for path in sorted((folder / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.HasField("session_log"):
                for tag, points in found.items():
                    found[tag] = [(step, x) for step, x in points if step < event.step]
            for value in event.summary.value:
                found[value.tag].append((event.step, value.simple_value))
    return found


@pytest.mark.parametrize(
    "step, before",
    [(4, ("tensorboard",)), (10, ("tensorboard",)), (10, ())],
    ids=["before its first checkpoint", "after", "first given at its resumption"],
)
def test_tensorboard(step, before, small_config, tmp_path, quiet, tensorboard, monkeypatch):
    """The values of the log, each once, though the run was killed."""
    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, "tensorboard", tensorboard)
        train_until(step, small_config(writers=before), tmp_path)
    train(small_config(writers=("tensorboard",)), tmp_path, resume=True, report=quiet)
    found = curves(tmp_path)
    assert len(found.pop("config/text_summary")) == 1
    logged = collections.defaultdict(list)
    for name in ("metrics.jsonl", "timing.jsonl"):
        for row in read_metrics(tmp_path / name):
            for tag in row.keys() - {"step"}:
                logged[tag].append((row["step"], pytest.approx(row[tag])))
    assert found == logged
    assert {"examples_per_second", "grad_norm/text", "seconds/input"} <= set(found)


def test_tensorboard_on_a_full_disk(small_config, tmp_path, quiet, tensorboard, monkeypatch):
    """Ends the run with an error that names the file; the cure is that of all files."""
    monkeypatch.setitem(WRITERS, "tensorboard", tensorboard)
    folder, config = RunFolder(tmp_path), small_config(writers=("tensorboard",))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with opened(folder, config, 0, quiet) as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, unlimited[1]))
            with pytest.raises(OSError, match="File too large") as said:
                for step in range(1000):
                    log.timed({"step": step, "a": 0.5})
        (path,) = (tmp_path / "tensorboard").iterdir()
        assert said.value.__notes__ == [f"That was while writing {path}"]
        path.unlink()
        folder.metrics.write_text('{"step": 2, "loss": 0.5}\n')
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
        with pytest.raises(OSError, match="File too large"), opened(folder, config, 2, quiet):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    with opened(folder, config, 2, quiet):
        assert curves(tmp_path)["loss"] == [(2, 0.5)], "what the opening could not write"


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


def test_a_run_is_one_in_wandb(small_config, tmp_path, quiet, monkeypatch):
    """Until it is deleted, also if it was killed before its first checkpoint."""
    found = collections.defaultdict(list)

    def init(*, id, **_):
        if not logged_in:
            raise ValueError("no API key")
        return unittest.mock.MagicMock(log=lambda values, step: found[id].append(step))

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    config, folder = small_config(writers=("wandb",)), RunFolder(tmp_path)
    logged_in = True
    for begun in (0, 4):
        with opened(folder, config, begun, quiet) as log:
            log.measured({"step": begun + 4, "loss": 0.5})
    assert list(found.values()) == [[4, 8]]
    folder.claim(config, resume=False, overwrite=True)
    folder.metrics.write_text('{"step": 2}\n{"step": 6}\n')
    logged_in = False
    with pytest.raises(ValueError, match="no API key"), opened(folder, config, 4, quiet):
        pass
    logged_in = True
    with opened(folder, config, 4, quiet):
        pass
    assert list(found.values()) == [[4, 8], [2]]


def test_a_writer_that_is_not_installed(small_config, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'gramalign\[wandb\]'"):
        train(small_config(writers=("wandb",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_may_keep_a_term_from_learning(small_config, tmp_path, quiet, caplog, monkeypatch):
    """Is told once, and not where nothing is to be learned."""
    monkeypatch.setattr(Gram, "doubt", lambda term, modalities: f"gram of {len(modalities)}")
    for steps in (0, 2):
        config = small_config(objective="gram", steps=steps, optimizer=Optimizer(warmup=0))
        train(config, tmp_path / str(steps), report=quiet)
    train(config, tmp_path / "2", resume=True, report=quiet)
    assert [x.getMessage() for x in caplog.records] == ["gram of 2"]


def test_a_trace_of_some_steps(traced):
    traces = list((traced / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000


@pytest.mark.parametrize("steps", [(5, 3), (0, 3), (11, 12)])
def test_a_trace_of_no_steps(tmp_path, steps):
    with pytest.raises(ValueError, match="first and the last step to trace, of 10 steps"):
        Profile(tmp_path, steps, of=10)


def test_each_process_has_a_trace_of_its_own(tmp_path, monkeypatch):
    """Those of one machine would take the same name."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    folders = []
    monkeypatch.setattr(jax.profiler, "start_trace", folders.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    for number in range(2):
        monkeypatch.setattr(jax, "process_index", lambda number=number: number)
        with Profile(tmp_path, (1, 2), of=10) as profile:
            profile.before(1)
    assert folders == [str(tmp_path / "process-0"), str(tmp_path / "process-1")]


def test_a_run_that_is_past_the_steps_to_trace(traced, small_config, tmp_path, quiet, caplog):
    """Says so, and goes on: a scheduler gives one command again and again."""
    train(small_config(), traced, resume=True, report=quiet, profile=(3, 5))
    assert "profile is 3 5, but nothing was traced: the run was past these steps" in caplog.text
    caplog.clear()
    train(small_config(), tmp_path, report=quiet, profile=(12, 12))
    assert not caplog.records

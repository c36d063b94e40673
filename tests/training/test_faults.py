"""What befalls a run, and what becomes of it."""

import dataclasses
import json
import logging
import os
import signal
import time

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from orbax.checkpoint import v1 as ocp

from gramalign.training import Interrupted, NonFiniteLoss, Optimizer, digests, train
from gramalign.training.checkpoint import Checkpoints, DamagedCheckpoint
from gramalign.training.log import Log
from gramalign.training.metrics import read_metrics
from gramalign.training.state import TrainState
from gramalign.training.stopping import stop_signal
from gramalign.training.timing import Timing
from gramalign.training.watch import Watch
from tests.processes import free_port
from tests.training.commands import assert_same_run, started, train_until, wait_for


@pytest.fixture(scope="module")
def config(small_config):
    return small_config(log_every=1)


@pytest.fixture
def interruptible():
    """A process inherits that Ctrl-C is ignored, as in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_with_a_status_of_its_own(number, status, config, tmp_path):
    long = dataclasses.replace(config, steps=100_000, checkpoint_every=100_000, log_every=10)
    process = started(long, tmp_path / "run")
    wait_for(process, "step 20 ")
    process.send_signal(number)
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == status, printed
    assert "is saved; --resume continues from the last checkpoint" in printed
    (saved,) = (int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert f"step {saved} is saved" in printed and saved >= 20
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(10, saved + 1, 10))


def test_ctrl_c_on_the_last_step_ends_what_would_follow(
    config, whole, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)  # not in a background

    def report(row):
        if row["step"] == 12:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="step 12 is saved") as told:
        train(config, tmp_path, report=report)
    assert told.value.by_hand and told.value.step == 12
    assert "stopping once this step is saved; Ctrl-C again stops at once" in caplog.text
    assert_same_run(tmp_path, whole)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal(caplog):
    """Of Ctrl-C, it ends the process as usual; SIGTERM is what a scheduler may send twice."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("ended without being saved"))
    try:
        with stop_signal(ctrl_c=True) as stopping:
            assert not stopping(1)
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
                assert stopping.told and stopping(1) and not stopping.by_hand
            assert not caplog.records
            signal.raise_signal(signal.SIGINT)
            assert not stopping.by_hand  # the first says why it ends
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "ctrl_c, handler, noted",
    [
        (True, signal.default_int_handler, True),
        (True, signal.SIG_IGN, False),  # in the background of a script
        (False, signal.default_int_handler, False),  # other processes are told too
    ],
)
def test_where_ctrl_c_is_noted(ctrl_c, handler, noted):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with stop_signal(ctrl_c=ctrl_c):
            assert (signal.getsignal(signal.SIGINT) is not handler) == noted
        assert signal.getsignal(signal.SIGINT) is handler, "given back, though none came"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_disk_that_is_full_before_anything_is_written(config, tmp_path, monkeypatch, quiet):
    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device\nmore of it")

    monkeypatch.setattr(ocp.training.Checkpointer, "save_checkpointables_async", full)
    with pytest.raises(
        OSError, match="cannot write checkpoint 4 .*No space left on device"
    ) as said:
        train(config, tmp_path, report=quiet)
    assert "continue with --resume" in said.value.__notes__[0]
    assert "more of it" not in str(said.value)


def test_a_disk_that_is_full_before_the_model_is_written(
    broken_off, config, whole, quiet, monkeypatch
):
    def full(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.numpy.save_file", full)
        with pytest.raises(OSError, match="cannot write .*params.safetensors: .*No space") as said:
            train(config, broken_off, resume=True, report=quiet)
    assert "continue with --resume" in said.value.__notes__[0]
    train(config, broken_off, resume=True, report=quiet)
    assert_same_run(broken_off, whole)


@pytest.fixture(scope="module")
def ended(config, tmp_path_factory):
    """A run that ended between its checkpoints at steps 8 and 12."""
    folder = tmp_path_factory.mktemp("ended")
    train_until(10, config, folder)
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["4", "8"]
    return folder


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage, digested, told",
    [(flip, True, "has changed"), (cut, False, ""), (os.unlink, True, "is missing")],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    damage, digested, told, broken_off, config, whole, quiet, caplog
):
    damage(largest_file(broken_off / "checkpoints" / "8"))
    if not digested:  # as when the process is killed before it has written that
        (broken_off / "digests" / "8.json").unlink()
    with caplog.at_level(logging.WARNING, logger="gramalign"):
        train(config, broken_off, resume=True, report=quiet)
    (said,) = (r.getMessage() for r in caplog.records if r.name.startswith("gramalign"))
    assert "checkpoint 8 is damaged" in said and told in said
    assert f"moved it to {broken_off / 'damaged' / '8'}" in said
    assert json.loads((broken_off / "environment.json").read_text())[-1]["step"] == 4
    assert (broken_off / "damaged" / "8").is_dir()
    assert_same_run(broken_off, whole)


def test_only_the_first_process_reads_all_of_a_checkpoint(
    broken_off, config, whole, quiet, monkeypatch
):
    monkeypatch.setattr(digests, "differing", lambda *_: pytest.fail("read by another process"))
    monkeypatch.setattr("gramalign.training.checkpoint.is_first_process", lambda: False)
    train(config, broken_off, resume=True, report=quiet)
    assert_same_run(broken_off, whole)


def test_a_damaged_record_vouches_for_nothing(broken_off, config, whole, quiet, caplog):
    cut(broken_off / "digests" / "8.json")
    train(config, broken_off, resume=True, report=quiet)
    assert "checkpoint 8 is damaged (8.json, the record of its digests, cannot" in caplog.text
    assert json.loads((broken_off / "environment.json").read_text())[-1]["step"] == 4
    assert_same_run(broken_off, whole)


def test_no_checkpoint_is_whole(broken_off, config, whole, quiet):
    for step in ("4", "8"):
        flip(largest_file(broken_off / "checkpoints" / step))
    moved = f"no checkpoint can be read. They were moved to {broken_off / 'damaged'}, and resuming"
    with pytest.raises(DamagedCheckpoint, match=moved):
        train(config, broken_off, resume=True, report=quiet)
    train(config, broken_off, resume=True, report=quiet)  # anew
    assert_same_run(broken_off, whole)


def test_digests_go_with_their_checkpoints(whole):
    names = {p.stem for p in (whole / "digests").iterdir()}
    assert names == {p.name for p in (whole / "checkpoints").iterdir()} == {"8", "12"}


@pytest.mark.slow
def test_a_full_disk(broken_off, config, whole, quiet):
    """No file may grow over some kB once the run has begun, as when the disk is full."""
    for kilobytes, what in ((16, "cannot write checkpoint 12"), (1, "File too large")):
        process = started(config, broken_off, "--resume", file_size=kilobytes)
        printed = process.communicate(timeout=120)[0]
        assert process.returncode == 2, printed
        assert what in printed and "continue with --resume" in printed
        assert "Traceback" not in printed, printed
    train(config, broken_off, resume=True, report=quiet)
    assert_same_run(broken_off, whole)


def test_a_folder_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        train(config, tmp_path / "file" / "run")


@pytest.mark.slow
def test_a_process_whose_peer_dies_ends_too(small_config, tmp_path):
    layout = dataclasses.replace(small_config().layout, data=None)
    config = small_config(steps=100_000, log_every=10, checkpoint_every=1000, layout=layout)
    options = ["--cluster.coordinator", f"localhost:{free_port()}", "--cluster.processes", 2]
    options += ["--cluster.timeout", 10]
    both = [
        started(
            *(config, tmp_path / "run", *options, "--cluster.process", number),
            devices=1,
        )
        for number in range(2)
    ]
    try:
        wait_for(both[0], "step 20 ")
        both[1].kill()
        start = time.monotonic()
        printed = both[0].communicate(timeout=100)[0]
        assert both[0].returncode == 1 and "Traceback" not in printed, printed
        assert "Another process of the run may have ended: see what it printed" in printed
        assert time.monotonic() - start < 90
    finally:
        for process in both:
            process.kill()
            process.communicate()


def metrics(**changes):
    """Of a step that is in order, but for some of them."""
    usual = {"loss": 1.0, "loss/clip": 1.0, "loss/gram": 1.0, "grad_norm": 1.0, "skipped": 0}
    usual |= {f"grad_norm/{m}": 1.0 for m in "ab"} | {f"finite/{m}": True for m in "ab"}
    found = usual | {"finite": True} | changes
    return {name: jnp.asarray(x) for name, x in found.items() if x is not None}


BAD = {"finite": False, "loss": np.nan, "loss/gram": np.nan}


@pytest.mark.parametrize(
    "changes, what",
    [
        (BAD, r"step 3: loss/gram is nan; steps 3 to 5 were skipped"),
        (BAD | {"finite/b": False}, "loss/gram is nan, embeddings of b are not finite"),
        (
            {"finite": False, "grad_norm": np.inf, "grad_norm/a": np.inf},
            "step 3: the gradient is not finite, in the tower of a;",
        ),
        (
            {"finite": False, "grad_norm": np.inf, "grad_norm/a": np.inf, "grad_norm/b": None},
            "step 3: the gradient is not finite, in the tower of a;",  # that of b is frozen
        ),
        (
            {"finite": False, **dict.fromkeys(("grad_norm", "grad_norm/a", "grad_norm/b"), np.nan)},
            "step 3: the gradient is not finite;",
        ),
    ],
)
def test_the_first_of_too_many_skips_is_named(changes, what, small_config):
    watch = Watch(small_config(max_skips=2), Log(), Timing(16, 1))
    for count, each in enumerate([BAD, {}, changes, BAD], start=1):
        watch.take(count, metrics(**each))
        watch.settle()
    watch.take(5, metrics(**BAD))
    with pytest.raises(NonFiniteLoss, match=what):
        watch.settle()


def test_that_steps_are_skipped_is_not_said_again_where_a_run_goes_on(small_config, caplog):
    noted = {"skipped_in_a_row": 1, "first_skipped": "step 3: loss/gram is nan"}
    watch = Watch(small_config(max_skips=3), Log(), Timing(16, 1), noted)
    for count, each in enumerate([BAD, {}, BAD], start=4):
        watch.take(count, metrics(**each))
        watch.settle()
    assert not caplog.records


@pytest.mark.parametrize(
    "first, warmup, cure",
    [
        (1, 2, "give --optimizer.warmup 0: optax.contrib:prodigy may divide"),
        (2, 2, "give --optimizer.warmup 0"),
        (3, 2, "lower optimizer.learning_rate"),
        (1, 0, "lower optimizer.learning_rate"),
    ],
)
def test_an_optimiser_that_divides_by_a_rate_that_begins_at_0(first, warmup, cure, small_config):
    """One of its first updates is not finite, nor is any after it."""
    optimizer = Optimizer(kind="optax.contrib:prodigy", weight_decay=0.0, warmup=warmup)
    watch = Watch(small_config(optimizer=optimizer, max_skips=1), Log(), Timing(16, 1))
    watch.take(first, metrics(finite=False))
    watch.settle()
    watch.take(first + 1, metrics(finite=False))
    with pytest.raises(NonFiniteLoss, match=f"step {first}: the update is not finite; .*{cure}"):
        watch.settle()
    if first == 1:
        with pytest.raises(NonFiniteLoss, match=f"every step was skipped, .*{cure}"):
            watch.check_learned(TrainState(2, {}, (), None, 2))


def test_rows_that_are_not_finite_are_null_in_the_log(small_config, tmp_path, quiet):
    """A learning rate that throws the parameters so far that no loss is finite any more."""
    optimizer = Optimizer(learning_rate=1e36, warmup=0)
    config = small_config(optimizer=optimizer, checkpoint_every=1, log_every=1, max_skips=3)
    with pytest.raises(NonFiniteLoss, match="step 2: .*; steps 2 to 5 were skipped"):
        train(config, tmp_path, report=quiet)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["skipped"] for row in rows] == [0, 1, 2, 3]
    assert [np.isnan(row["loss"]) for row in rows] == [False, True, True, True]
    assert '"loss": null' in (tmp_path / "metrics.jsonl").read_text()
    # Nor does it go on for longer where it is resumed in the middle of them.
    with pytest.raises(NonFiniteLoss, match="step 2: .*; steps 2 to 5 were skipped"):
        train(config, tmp_path, resume=True, report=quiet)


def test_a_run_whose_every_step_was_skipped(small_config, tmp_path, quiet, caplog):
    config = small_config(objective="3e38*clip", steps=8)
    with pytest.raises(NonFiniteLoss, match="every step was skipped"):
        train(config, tmp_path, report=quiet)
    assert not (tmp_path / "params.safetensors").exists()
    assert "step 1: loss/clip" in caplog.text or "step 1: the gradient" in caplog.text
    assert caplog.text.count("skipping this step") == 1


def test_an_update_that_is_not_finite_is_skipped(small_config, tmp_path, quiet):
    optimizer = Optimizer(learning_rate=1e3, weight_decay=1e38, warmup=0)
    config = small_config(optimizer=optimizer, max_skips=3)
    with pytest.raises(NonFiniteLoss, match="the update is not finite"):
        train(config, tmp_path, report=quiet)


def test_what_could_not_be_saved_is_told_of_once(config, tmp_path, quiet, monkeypatch):
    """Though Orbax has kept the error, and raises it again as it is closed."""

    class Full:
        def __init__(self, orbax):
            self._orbax = orbax

        def __getattr__(self, name):
            return getattr(self._orbax, name)

        def save_checkpointables_async(self, *arguments, **settings):
            raise ValueError("RESOURCE_EXHAUSTED: no space left")

        def close(self):
            self._orbax.close()
            raise ValueError("RESOURCE_EXHAUSTED once more")

    def made(*arguments, **settings):
        found = Checkpoints(*arguments, **settings)
        found._orbax = Full(found._orbax)
        return found

    monkeypatch.setattr("gramalign.training.loop.Checkpoints", made)
    with pytest.raises(OSError, match="cannot write checkpoint .* RESOURCE_EXHAUSTED: no space"):
        train(config, tmp_path, report=quiet)


def test_a_clock_that_goes_backwards(config, whole, tmp_path, quiet, monkeypatch):
    now, late = time.time(), iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(late))
    train_until(10, config, tmp_path)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, whole)

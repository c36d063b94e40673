"""Several processes of one run, some of which are started wrongly, or end."""

import dataclasses
import json
import signal
import threading

import numpy as np
import pytest

from gramalign.training import Layout, Model, alike, loop, processes, train
from gramalign.training.alike import check_shared, facts
from gramalign.training.processes import Cluster, agreed, check_alike, together
from gramalign.training.run_folder import RunFolder
from tests.processes import ended, free_port
from tests.training.commands import preset, started, wait_for


def told(monkeypatch, *others):
    """Further processes, which say these texts whenever all are asked."""
    monkeypatch.setattr(processes, "from_all", lambda text: [text, *others])


def test_an_error_of_one_is_an_error_of_all(monkeypatch):
    told(monkeypatch, "", "no data here")
    with pytest.raises(ConnectionError, match="process 2 cannot go on: no data here"), together():
        pass
    with pytest.raises(KeyError), together():  # its own comes first
        raise KeyError
    told(monkeypatch, "", "")
    with together():
        pass


def test_an_error_is_told_with_its_notes(monkeypatch):
    said = []
    monkeypatch.setattr(processes, "from_all", lambda text: said.append(text) or [text])
    error = ValueError("too small")
    error.add_note("Give more")
    for failed in (error, ValueError()):
        with pytest.raises(ValueError), together():
            raise failed
    assert said == ["too small. Give more", "ValueError"]


def test_processes_that_differ_are_named_with_what_differs(monkeypatch):
    own = {"seed": 0, "layers": (1, 2), "steps": 5}
    told(monkeypatch, json.dumps(own), json.dumps({**own, "seed": 1, "steps": 6}))
    with pytest.raises(
        ValueError, match="seed: 0 in process 0, 1 in 2; steps: 5 in process 0, 6 in 2"
    ):
        check_alike(own)
    more = own | {"jax": "0.11"}  # of a version that knows of more
    for first, second in ((own, more), (more, own)):
        told(monkeypatch, json.dumps(second))
        message = f"jax: {first.get('jax')!r} in process 0, {second.get('jax')!r} in 1"
        with pytest.raises(ValueError, match=message):
            check_alike(first)
    told(monkeypatch, json.dumps(own))
    check_alike(own)


def test_processes_that_measured_other_statistics_differ(small_config):
    """As where their copies of the data do, in a row that only one of them can read."""
    measured = {"a": (np.zeros(3, np.float32), np.ones(3, np.float32))}
    other = {"a": (np.full(3, 1e-6, np.float32), np.ones(3, np.float32))}
    found, same, differing = (
        facts(small_config(), "0" * 64, x, None) for x in (measured, dict(measured), other)
    )
    assert found == same and found != differing


@pytest.mark.parametrize("decision", [300 / 7, True, 3])
def test_all_take_what_the_first_has_to_the_last_digit(decision, monkeypatch):
    """As a resumed run reads it in the log, or a figure that is equal would be a better one."""
    monkeypatch.setattr(processes, "from_all", lambda text: [json.dumps(decision), text])
    assert agreed(0) == decision and type(agreed(0)) is type(decision)


def both(config, folder, *one, sizes=("unlimited", "unlimited")):
    """Two processes with one device each, the second with further options.

    Args:
        config: the run.
        folder: of the run.
        one: options of the second process.
        sizes: kB that no file of either process may grow over.
    """
    words = ["--cluster.coordinator", f"localhost:{free_port()}", "--cluster.processes", 2]
    words += ["--cluster.timeout", 10, "--cluster.process"]
    return [
        started(config, folder, *words, number, *more, devices=1, file_size=size)
        for number, (more, size) in enumerate(zip([(), one], sizes, strict=True))
    ]


def end_of(pair):
    """What each has printed, and its status."""
    printed = ended(pair, timeout=90)
    return printed, [process.returncode for process in pair]


@pytest.fixture(scope="module")
def long(small_config):
    return small_config(steps=100_000, log_every=10, checkpoint_every=20, layout=Layout())


@pytest.mark.parametrize(
    "given", [{"coordinator": "a:1"}, {"processes": 2, "process": 0}, {"process": 0}]
)
def test_a_cluster_is_given_whole(given):
    with pytest.raises(ValueError, match="HOST:PORT, with the number of processes and of this"):
        Cluster(**given)


@pytest.mark.parametrize("place", ["host", ":1", "host:", "host:1/"])
def test_where_a_cluster_cannot_be(place):
    with pytest.raises(ValueError, match=f"'{place}', expected HOST:PORT, such as"):
        Cluster(coordinator=place, processes=2, process=0)


@pytest.fixture
def joined(monkeypatch):
    """Returns a function from a cluster to what JAX is asked for as it is entered, if anything."""

    def enter(cluster):
        asked = []
        monkeypatch.setattr(
            "jax.distributed.initialize", lambda *x, **named: asked.append((x, named))
        )
        cluster.enter()
        return asked

    return enter


def test_how_long_others_are_waited_for(joined, caplog):
    given = Cluster(coordinator="localhost:1", processes=3, process=2, timeout=1)
    with caplog.at_level("INFO"):
        ((where, given),) = joined(given)
    assert where == ("localhost:1", 3, 2)
    assert (given["heartbeat_timeout_seconds"], given["shutdown_timeout_seconds"]) == (1, 1)
    assert (
        f"waiting for the other processes, at most {given['initialization_timeout']} s"
        in caplog.text
    )


def test_others_are_joined_once_and_if_asked_to(joined, monkeypatch):
    assert len(joined(Cluster(join=True))) == 1 and not joined(Cluster())
    monkeypatch.setattr("jax.distributed.is_initialized", lambda: True)
    assert not joined(Cluster(join=True))


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_no_others_to_join(error, monkeypatch):
    def alone(*_, **__):
        raise error("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", alone)
    message = "cannot join other processes: coordinator_address should be defined. Where no cluster"
    with pytest.raises(ConnectionError, match=f"{message} .* give --cluster.coordinator HOST:PORT"):
        Cluster(join=True).enter()


def test_a_folder_that_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(alike, "_LATE", 1)
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="is not the folder that process 0 writes to"):
        check_shared(folder, "word")
    folder.locked.write_text("word")
    check_shared(folder, "word")


def test_a_model_that_a_network_file_system_shows_late(small_config, tmp_path, quiet, monkeypatch):
    save = loop.save_params
    late = lambda *what: threading.Timer(0.1, save, what).start()  # noqa: E731
    monkeypatch.setattr(loop, "save_params", late)
    assert train(small_config(), tmp_path, report=quiet).step == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, messages",
    [
        (["--seed", "1"], ["seed: 0 in process 0, 1 in 1"] * 2),
        (
            ["--data", "elsewhere"],
            ["process 1 cannot go on: no data 'elsewhere'", "error: no data"],
        ),
    ],
)
def test_one_is_started_otherwise(options, messages, long, tmp_path):
    printed, status = end_of(both(long, tmp_path / "run", *options))
    assert status == [2, 2] and not any("Traceback" in text for text in printed), printed
    for text, message in zip(printed, messages, strict=True):
        assert message in text
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_one_has_other_features(long, tmp_path):
    rng = np.random.default_rng(0)
    text, audio = rng.normal(size=(2, 100, 3))
    np.savez(tmp_path / "one.npz", text=text, audio=audio)
    np.savez(tmp_path / "other.npz", text=text, audio=audio + 1)
    config = dataclasses.replace(long, data=str(tmp_path / "one.npz"))
    printed, status = end_of(both(config, tmp_path / "run", "--data", tmp_path / "other.npz"))
    assert status == [2, 2] and all("training rows: " in text for text in printed), printed


@pytest.mark.slow
def test_what_the_first_refuses_ends_all(long, tmp_path):
    RunFolder(tmp_path / "run").root.mkdir()
    RunFolder(tmp_path / "run").claim(long, resume=False, overwrite=False)
    printed, status = end_of(both(long, tmp_path / "run"))
    assert status == [2, 2], printed
    assert "process 0 cannot go on: " in printed[1] and "give --resume" in printed[1]


def first_runs(monkeypatch, code):
    """Makes every process run some code before its command does anything."""

    def longer(*arguments):
        path = preset(*arguments)
        with path.open("a") as file:
            file.write(f"{code}\n")
        return path

    monkeypatch.setattr("tests.training.commands.preset", longer)


@pytest.mark.slow
def test_a_trained_run_ends_at_once_when_told_to(small_config, tmp_path, monkeypatch):
    """As while the first process evaluates: here, all take long to meet."""

    lasting = "lambda name: print('trained', flush=True) or time.sleep(60)"
    first_runs(monkeypatch, f"import time\nfrom gramalign.cli import train\ntrain.meet = {lasting}")
    pair = both(small_config(layout=Layout(), steps=8), tmp_path / "run")
    for process in pair:
        wait_for(process, "trained")
    for process in pair:
        process.terminate()
    assert end_of(pair)[1] == [-signal.SIGTERM] * 2


@pytest.mark.slow
@pytest.mark.parametrize("full", [0, 1])
def test_the_disk_of_one_is_full(full, small_config, tmp_path, monkeypatch):
    """The other waits for it, here for five seconds, and all end."""

    impatient = "checkpoint._WRITTEN_WITHIN = 5"
    first_runs(monkeypatch, f"from gramalign.training import checkpoint\n{impatient}")
    wide = small_config(layout=Layout(), model=Model(hidden=1024), steps=8)
    sizes = [64 if process == full else "unlimited" for process in range(2)]
    printed, status = end_of(both(wide, tmp_path / "run", sizes=sizes))
    assert status == [2, 2], printed
    assert "cannot write checkpoint 4" in printed[full] and "File too large" in printed[full]
    assert "a process has not written its part in 5 s" in printed[1 - full]

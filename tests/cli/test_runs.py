"""The list of runs."""

import fcntl
import json
import os

import pytest

from gramalign.cli.main import main
from gramalign.training import Config, Validation, config_to_json
from gramalign.training.metrics import MetricsLog


def made(folder, *rows, timing=(), **changes):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config_to_json(Config(**changes)))
    for name, lines in (("metrics", rows), ("timing", timing)):
        with MetricsLog(folder / f"{name}.jsonl") as log:
            for row in lines:
                log.write(row)
    return folder


@pytest.fixture
def runs(tmp_path):
    figure = "pair R@1, cosine"
    made(
        tmp_path / "a" / "running",
        {"step": 50, "loss": 3.0, "skipped": 0},
        {"step": 50, f"validation/{figure}": 20.0},
        {"step": 100, "loss": 2.5, "skipped": 1},
        {"step": 100, f"validation/{figure}": 10.0},
        timing=[{"step": 100, "examples_per_second": 1234.5}],
        objective="clip",
        validation=Validation(every=50, figure=figure),
    )
    (made(tmp_path / "b") / "params.safetensors").write_text("")
    lowest = "text -> audio mean rank, own"
    made(
        tmp_path / "c",
        *({"step": step, f"validation/{lowest}": rank} for step, rank in ((2, 5.0), (4, 3.0))),
        {"step": 6, f"validation/{lowest}": 4.0},
        {"step": 7, "loss": float("nan")},
        validation=Validation(every=2, figure=lowest),
        steps=900,
    )
    (tmp_path / "d").mkdir()
    made(tmp_path / "b" / "checkpoints" / "copy")  # not a run: it lies in one
    return tmp_path


def test_all_is_told(runs, capsys):
    for place, name in enumerate(("a/running/metrics.jsonl", "b/config.json")):
        os.utime(runs / name, (place, place))
    with open(runs / "a" / "running" / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        main(["runs", str(runs), "--json"])
    a, b, c = json.loads(capsys.readouterr().out)
    assert (a["state"], b["state"], c["state"]) == ("running", "finished", "stopped")
    assert (a["step"], a["loss"], a["skipped"], a["best"]) == (100, 2.5, 1, 20.0)
    assert (a["objective"], a["figure"]) == ("clip", "pair R@1, cosine")
    assert a["examples_per_second"] == 1234.5
    assert (a["written"], b["written"]) == (0, 1), "of the log, which b does not have"
    assert (b["step"], b["loss"], b["best"]) == (0, None, None)
    assert (c["step"], c["steps"], c["loss"], c["best"]) == (7, 900, None, 3.0)


def test_the_table(runs, capsys):
    main(["runs", str(runs)])
    shown = capsys.readouterr().out
    assert "100/1000" in shown and "7/900" in shown and "1,234" in shown
    assert "finished" in shown and "stopped" in shown


def test_a_run_of_another_version(runs, capsys):
    (runs / "c" / "config.json").write_text('{"magic": 3}')
    main(["runs", str(runs)])
    shown = capsys.readouterr().out
    assert "unreadable" in shown and "100/1000" in shown
    main(["runs", str(runs), "--json"])
    assert "unknown magic" in json.loads(capsys.readouterr().out)[2]["error"]


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.json", b"[]"),
        ("config.json", b'{"steps"'),
        ("config.json", b'{"model": null}'),
        ("config.json", b'{"optimizer": {"learning_rate": "fast"}}'),
        ("metrics.jsonl", b'{"loss": 1}\n{"step": 2}\n'),
        ("metrics.jsonl", b"\0\0\0\n{}\n"),
        ("metrics.jsonl", b'{"step": 1, "loss": "x"}\n'),
        ("metrics.jsonl", b'{"step": 1}\n\xff\n{"step": 2}\n'),
    ],
)
def test_one_that_is_damaged_hides_no_other(runs, name, content, capsys):
    (runs / "c" / name).write_bytes(content)
    main(["runs", str(runs), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [each["state"] == "unreadable" for each in found] == [False, False, True]
    assert found[2]["error"]


def test_one_whose_own_module_does_not_run_hides_no_other(runs, capsys, tmp_path, monkeypatch):
    (tmp_path / "breaking.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (runs / "c" / "config.json").write_text('{"objective": "breaking:loss"}')
    main(["runs", str(runs), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [each["state"] == "unreadable" for each in found] == [False, False, True]
    assert "ZeroDivisionError" in found[2]["error"]


def test_linked_runs_are_listed_each_once(runs, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("linked")
    (elsewhere / "a").symlink_to(runs / "a")
    (elsewhere / "round").symlink_to(elsewhere)
    main(["runs", str(elsewhere), str(runs), "--json"])
    found = [each["run"] for each in json.loads(capsys.readouterr().out)]
    assert found == [str(elsewhere / "a" / "running"), str(runs / "b"), str(runs / "c")]


def test_nothing_there(tmp_path, capsys):
    main(["runs", str(tmp_path)])
    assert f"no runs in {tmp_path}" in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(SystemExit):
        main(["runs", str(tmp_path / "none")])
    assert "is not a folder: give one that holds runs" in capsys.readouterr().err

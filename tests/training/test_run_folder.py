import fcntl
import json
from pathlib import Path

import pytest

from gramalign.training import Config
from gramalign.training.environment import git_revision
from gramalign.training.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "first")
    folder.claim(Config(), resume=False, overwrite=False)
    return folder


def test_a_folder_that_holds_a_run_is_not_taken_over(folder):
    with pytest.raises(FileExistsError, match="already holds a run: give --resume to continue"):
        folder.claim(Config(), resume=False, overwrite=False)


def test_resume_keeps_what_is_there(folder):
    folder.metrics.write_text("kept")
    folder.claim(Config(), resume=True, overwrite=False)
    assert folder.metrics.read_text() == "kept"


def test_resume_names_the_fields_of_another_config(folder):
    with pytest.raises(ValueError, match="another config") as told:
        folder.claim(Config(seed=1, steps=2000), resume=True, overwrite=False)
    assert "steps: 1000 -> 2000" in str(told.value) and "seed: 0 -> 1" in str(told.value)
    assert ". Leave these out to continue it as it was" in str(told.value)
    assert "give --start-from what gramalign export makes of its last" in str(told.value)
    folder.params.touch()
    with pytest.raises(
        ValueError, match=f"to use its weights there, give --start-from {folder.root}$"
    ):
        folder.claim(Config(seed=1), resume=True, overwrite=False)


def test_overwrite_deletes_the_run_and_nothing_else(folder):
    folder.params.touch()
    folder.checkpoints.mkdir()
    (folder.root / "notes.txt").write_text("mine")
    folder.claim(Config(seed=1), resume=False, overwrite=True)
    assert sorted(file.name for file in folder.root.iterdir()) == ["config.json", "notes.txt"]
    assert json.loads(folder.config.read_text())["seed"] == 1


def test_no_file_of_the_old_run_is_taken_for_one_of_the_new(folder):
    names = {name for name, x in vars(RunFolder).items() if isinstance(x, property)}
    for name in names - {"locked"}:  # which is held meanwhile
        path = getattr(folder, name)
        path.touch() if path.suffix else path.mkdir()
    folder.claim(Config(), resume=False, overwrite=True)
    assert [path.name for path in folder.root.iterdir()] == ["config.json"]


def test_until_all_of_it_is_gone_the_folder_is_a_runs(folder, monkeypatch):
    gone, unlink = [], Path.unlink

    def noted(path, **settings):
        gone.append(path)
        unlink(path, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", noted)
        folder.claim(Config(), resume=False, overwrite=True)
    gone = [path for path in gone if not path.name.endswith(".part")]
    assert folder.params in gone and gone[-1] == folder.config


def test_readers_do_not_take_each_other_for_what_trains(folder):
    with folder.lock():
        assert folder.state() == "running"
        folder.params.touch()
        assert folder.state() == "finished", "whatever still holds it"
        folder.params.unlink()
    with open(folder.locked) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert folder.state() == "stopped"


def test_resume_and_overwrite_contradict_each_other(folder):
    with pytest.raises(ValueError, match="contradict"):
        folder.claim(Config(), resume=True, overwrite=True)


def test_every_start_is_noted(folder):
    folder.note_start(0)
    folder.note_start(40)
    starts = json.loads(folder.environment.read_text())
    assert [start["step"] for start in starts] == [0, 40]
    assert starts[0]["versions"]["jax"]


def test_starts_that_are_none(folder):
    folder.environment.write_text("{}")
    with pytest.raises(ValueError, match="environment.json is damaged"):
        folder.note_start(0)


@pytest.mark.parametrize("content", ['{"steps": -1}', '{"magic": 3}'])
def test_a_config_that_cannot_be_is_told_with_its_file(folder, content):
    folder.config.write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: "):
        folder.claim(Config(), resume=True, overwrite=False)


def test_code_outside_git_has_no_revision(tmp_path):
    (tmp_path / "module.py").touch()
    assert git_revision(tmp_path / "module.py") is None

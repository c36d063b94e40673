"""`gramalign features`, from files to a trained space."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gramalign
from gramalign.cli import main
from gramalign.media import features
from gramalign.models.pretrained import FAMILIES
from tests.complaint import complaint
from tests.media.test_features import bytes_of


def words(table, encoders, out):
    clip, whisper = encoders / "clip", encoders / "whisper"
    return [
        *("features", str(table), "--out", str(out), "--frames", "3"),
        *("--text", f"caption={clip}", "--image", f"photo={clip}", "--video", f"film={clip}"),
        *("--audio", f"sound={whisper}"),
    ]


def test_what_is_made_is_told(table, encoders, tmp_path, capsys, quiet):
    out = tmp_path / "store"
    clip, bert = encoders / "clip", encoders / "bert"
    columns = ["--text", f"caption={clip}", f"url={bert}", "--image", f"photo={clip}"]
    main(["features", str(table), "--out", str(out), *columns])
    printed = capsys.readouterr().out
    assert "caption: 11 rows, 10 features each, 11 in" in printed
    assert "photo: 8 rows, 10 features each, 8 in" in printed
    assert f"made {out}: 11 rows\nnext: gramalign train --data {out}\n" in printed


def test_an_encoder_of_samples(sounds, encoders, tmp_path, capsys, quiet):
    out = tmp_path / "store"
    audio = ["--audio", f"sound={encoders / 'hubert'}", "--batch-size", "8"]
    main(["features", str(sounds), "--out", str(out), *audio])
    assert "sound: 2 rows, 24 features each, 2 in" in capsys.readouterr().out


def test_all_families_are_told(capsys, quiet):
    with pytest.raises(SystemExit):
        main(["features", "--help"])
    told = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert told >= FAMILIES.keys() and {"hubert", "mpnet", "dinov2_with_registers"} <= told


@pytest.mark.slow
def test_from_files_to_a_trained_space(table, encoders, tmp_path, quiet):
    out = tmp_path / "store"
    main(words(table, encoders, out))
    options = ["--steps", "2", "--batch-size", "8", "--no-evaluation", "--optimizer.warmup", "0"]
    main(["train", "--data", str(out), "--out", str(tmp_path / "run"), *options])
    assert (tmp_path / "run" / "params.safetensors").exists()


def test_what_is_not_used_is_told(table, encoders, tmp_path, caplog):
    caplog.set_level("INFO", "gramalign")
    features(table, tmp_path / "store", text={"caption": encoders / "clip"})
    assert f"not used of {table}: 'photo', 'film', 'sound', 'url'" in caplog.text


@pytest.mark.parametrize(
    "option, message",
    [
        (["--text", "caption"], "--text: got 'caption', expected COLUMN=FOLDER"),
        (["--text", "caption=a", "caption=b"], "--text: got caption twice"),
        (["--text", "caption=a", "--text", "caption=b"], "--text: got caption twice"),
        (["--text", "caption=no/such/folder"], "no/such/folder"),
        (["--image", "photos=clip"], "has no column 'photos', expected one of 'ids', "),
        ([], "got no column to encode"),
    ],
)
def test_what_is_refused(option, message, table, tmp_path, capsys, quiet):
    out = ["--out", str(tmp_path / "store")]
    assert message in complaint(capsys, "features", str(table), *out, *option)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_killed_processes_leave_what_they_have_done(table, encoders, tmp_path):
    source = Path(gramalign.__file__).parents[1]
    command = [sys.executable, "-c", "from gramalign.media import job; job._BATCHES = 1\n"
               "from gramalign.cli import main; main()"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(source)}

    def start(out):
        options = [*words(table, encoders, out), "--batch-size", "2"]
        return subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    out, kills = tmp_path / "store", 0
    chunks = tmp_path / "store.unfinished" / "chunks"
    while not out.exists():
        before = len(list(chunks.glob("*.npz")))
        process = start(out)
        while process.poll() is None and len(list(chunks.glob("*.npz"))) < before + 9:
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills > 1
    assert bytes_of(out) == bytes_of(tmp_path / "whole")

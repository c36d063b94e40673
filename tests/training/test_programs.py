"""A run's towers as programs that need nothing of this library."""

import dataclasses
import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest

from gramalign.cli import main
from gramalign.training import Layout, Model, load_run, train, write_programs
from tests.complaint import complaint
from tests.training.commands import untrained


@pytest.fixture(scope="module")
def run(plain):
    return plain


def features(run, rows):
    rng = np.random.default_rng(rows)
    return {m: rng.normal(size=(rows, n)).astype(np.float32) for m, n in run.dims.items()}


ALONE = """
import sys
import jax, numpy as np

program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
np.save(sys.argv[3], program.call(np.load(sys.argv[2])))
assert not any(name.startswith(("gramalign", "flax", "tests")) for name in sys.modules)
"""


@pytest.mark.parametrize("rows", [1, 7])
def test_they_embed_as_the_run_does_without_it(run, rows, tmp_path):
    files = write_programs(run, tmp_path / "programs")
    assert set(files) == set(run.dims) and all(path.is_file() for path in files.values())
    given = features(run, rows)
    wanted = run.embed(given)
    for modality, path in files.items():
        program = jax.export.deserialize(bytearray(path.read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")
        np.testing.assert_allclose(program.call(given[modality]), wanted[modality], atol=1e-6)
    np.save(tmp_path / "in.npy", given["text"])
    paths = (files["text"], tmp_path / "in.npy", tmp_path / "out.npy")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted["text"], atol=1e-6)


def test_the_same_bytes_wherever_they_are_written_and_no_paths(run, tmp_path):
    def settings():
        return {name: value for name, value in jax.config.values.items() if "traceback" in name}

    before = settings()
    files = write_programs(run, tmp_path / "one")
    others = (lambda: write_programs(run, tmp_path / "other"))()
    assert settings() == before
    for modality, path in files.items():
        assert path.read_bytes() == others[modality].read_bytes()
        assert b"gramalign" not in path.read_bytes()


def test_a_row_of_nan_is_nan_alone_and_bfloat16_is_kept(small_config, tmp_path, quiet):
    config = small_config()
    model = dataclasses.replace(config.model, dtype="bfloat16")
    layout = Layout(data=2, fsdp=2, model=2)
    config = dataclasses.replace(config, model=model, layout=layout)
    run = train(untrained(config), tmp_path / "run", report=quiet)
    given = features(run, 3)
    wanted = np.asarray(run.embed(given)["text"])
    path = write_programs(run, tmp_path)["text"]
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert "bf16" in str(program.mlir_module())
    given["text"][1, 2] = np.nan
    found = np.asarray(program.call(given["text"]))
    np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-6)
    assert np.isnan(found[1]).all()


def test_one_number_of_rows(run, tmp_path):
    files = write_programs(run, tmp_path, batch_size=5)
    program = jax.export.deserialize(bytearray(files["audio"].read_bytes()))
    given = features(run, 5)
    np.testing.assert_allclose(program.call(given["audio"]), run.embed(given)["audio"], atol=1e-6)
    with pytest.raises(ValueError, match=r"expected \(5, 7\) and called with \(6, 7\)"):
        program.call(features(run, 6)["audio"])


def test_a_tower_of_your_own_goes_with_it(small_config, tmp_path, quiet):
    config = small_config()
    tower = "tests.own_methods:Tokens(width=1, heads=2)"
    model = Model(dim=config.model.dim, tower=tower)
    run = train(untrained(dataclasses.replace(config, model=model)), tmp_path / "run", report=quiet)
    with pytest.raises(ValueError, match=r"audio needs to know the number .*\(--batch-size\)"):
        write_programs(run, tmp_path)
    files = write_programs(run, tmp_path, batch_size=3)
    given = features(run, 3)
    program = jax.export.deserialize(bytearray(files["text"].read_bytes()))
    np.testing.assert_allclose(program.call(given["text"]), run.embed(given)["text"], atol=1e-6)


def test_what_cannot_be_written(run, tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1, or none for any"):
        write_programs(run, tmp_path / "none", batch_size=0)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="a file is in the way"):
        write_programs(run, tmp_path / "file")
    absent = complaint(capsys, "stablehlo", str(tmp_path / "no"), "--out", str(tmp_path / "none"))
    assert "no run was started in it" in absent
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"flatbuffers, not .*gramalign\[stablehlo\]"):
        write_programs(run, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_says_what_it_wrote(run, tmp_path, capsys):
    main(["stablehlo", str(run.folder), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    for modality in load_run(run.folder).dims:
        assert f"wrote {tmp_path / 'out' / modality}.stablehlo: 0." in printed

"""What a slip in the code would change, and nothing else that is tested here."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.data import from_arrays, load
from gramalign.training.checkpoint import Checkpoints, DamagedCheckpoint, saved
from gramalign.training.layout import mesh_of
from gramalign.training.moments import moments, varied
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import Start, make_programs


@pytest.fixture
def begun(small_config, tmp_path):
    config = small_config()
    store = load(config.data)
    mesh = mesh_of(config.layout)
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    programs = make_programs(config, store.dims, mesh)
    return Start(config, store.dims, moments(store), programs), folder


@pytest.mark.parametrize("part", ["params", "opt_state"])
def test_a_whole_checkpoint_of_another_model_or_optimiser_stays_where_it_is(begun, part):
    start, folder = begun
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(start.state())
    nothing = {"nothing": jax.ShapeDtypeStruct((3,), jnp.float32)}
    other = dataclasses.replace(start.abstract, **{part: nothing})
    with Checkpoints(folder, keep=2) as checkpoints:
        with pytest.raises(ValueError, match=rf"holds other arrays .* optimiser: {part}\."):
            checkpoints.restore(other)
    assert (folder.checkpoints / "0").is_dir() and not folder.damaged.exists()


def test_the_digests_of_a_damaged_checkpoint_go_with_it(begun):
    start, folder = begun
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(start.state())
    largest = max(
        (p for p in folder.checkpoints.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    largest.write_bytes(b"")
    with Checkpoints(folder, keep=2) as checkpoints:
        with pytest.raises(OSError, match="no checkpoint can be read"):
            checkpoints.restore(start.abstract)
    assert not folder.digest(0).exists()


def test_what_was_put_aside_before_stays(begun):
    start, folder = begun
    for _ in range(3):
        with Checkpoints(folder, keep=2) as checkpoints:
            checkpoints.save(start.state())
        for file in (path for path in (folder.checkpoints / "0").rglob("*") if path.is_file()):
            file.write_bytes(b"")
        with Checkpoints(folder, keep=2) as checkpoints, pytest.raises(DamagedCheckpoint):
            checkpoints.restore(start.abstract)
    assert {path.name for path in folder.damaged.iterdir()} == {"0", "0.1", "0.2"}


def test_half_a_checkpoint_is_swept_away_by_those_who_train_alone(begun):
    start, folder = begun
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(start.state())
    half = folder.checkpoints / "4.orbax-checkpoint-tmp"
    half.mkdir()
    assert saved(folder, "latest").step == 0
    assert half.is_dir(), "another process may be writing it"
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.latest == 0
        checkpoints.save(dataclasses.replace(start.state(), step=jnp.int32(1)))  # waits for that
    assert not half.exists()


def test_no_checkpoint_yet(begun):
    start, folder = begun
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.latest is None and checkpoints.best(start.abstract) is None
    with pytest.raises(FileNotFoundError, match=r"no checkpoint is latest \(there are none\)$"):
        saved(folder, "latest")


def test_what_could_not_be_written_is_told_by_the_next_save_and_at_the_end(begun, monkeypatch):
    start, folder = begun

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("gramalign.training.digests.write", full)
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save(start.state())
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(dataclasses.replace(start.state(), step=jnp.int32(1)))
    with checkpoints:
        pass
    with pytest.raises(OSError, match="No space left"), Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(dataclasses.replace(start.state(), step=jnp.int32(2)))


@pytest.mark.parametrize("keep_best, kept", [(2, {2, 4, 7}), (0, {7})])
def test_which_checkpoints_stay(begun, keep_best, kept):
    start, folder = begun
    figures = {1: 3.0, 2: 5.0, 3: None, 4: 5.0, 5: 1.0, 6: None, 7: 0.0}
    with Checkpoints(folder, 1, keep_best) as checkpoints:
        for step, figure in figures.items():
            checkpoints.save(dataclasses.replace(start.state(), step=jnp.int32(step)), figure)
        best = checkpoints.best(start.abstract)
    assert {int(path.name) for path in folder.checkpoints.iterdir()} == kept
    assert int(best.step) == (4 if keep_best else 7), "of equal ones the newest"


def test_if_the_best_is_damaged_the_next_best_is_used(begun):
    start, folder = begun
    with Checkpoints(folder, 1, keep_best=3) as checkpoints:
        for step, figure in ((1, 2.0), (2, 3.0), (3, 1.0)):
            checkpoints.save(dataclasses.replace(start.state(), step=jnp.int32(step)), figure)
        checkpoints.wait()
        for file in (path for path in (folder.checkpoints / "2").rglob("*") if path.is_file()):
            file.unlink()
        best = checkpoints.best(start.abstract)
    assert best is not None and int(best.step) == 1


def test_a_run_whose_statistics_are_gone_does_not_go_on_without(begun, small_config):
    _, folder = begun
    config = small_config()
    dims = load(config.data).dims
    programs = make_programs(config, dims, mesh_of(config.layout))
    with pytest.raises(OSError):
        Start(config, dims, None, programs, folder)


def test_what_varies_by_rounding_does_not_vary():
    store = from_arrays({"a": np.array([[1e6], [1e6 + 0.0625]] * 4), "b": np.arange(8.0)[:, None]})
    with pytest.raises(ValueError, match="a is the same in all 8"):
        varied(moments(store), store)

"""Where commands keep what they have compiled."""

import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gramalign.cli import kept_programs
from gramalign.cli.kept_programs import keep_programs

FOLDER = "jax_compilation_cache_dir"


@pytest.fixture(autouse=True)
def nothing_kept_yet(monkeypatch, tmp_path):
    """As in a process that has just begun, of a user whose cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_programs, "_SECONDS", 0.0)
    names = (FOLDER, "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    jax.config.update(FOLDER, None)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_below_the_users_cache_for_a_month(tmp_path):
    folder = tmp_path / "cache" / "gramalign" / "programs"
    folder.mkdir(parents=True)
    for name, days in (("old", 31), ("new", 29)):
        (folder / name).write_text("")
        age = (folder / name).stat().st_mtime - days * 24 * 3600
        os.utime(folder / name, (age, age))
    keep_programs()
    jax.jit(lambda x: jnp.sin(x) + 17)(jnp.ones(3)).block_until_ready()
    assert (folder / "new").exists() and not (folder / "old").exists()
    assert [path for path in folder.iterdir() if "lambda" in path.name]


def test_where_it_was_said(tmp_path):
    jax.config.update(FOLDER, str(tmp_path / "mine"))
    keep_programs()
    assert jax.config.values[FOLDER] == str(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    keep_programs()
    assert jax.config.values[FOLDER] is None

"""Programs that were compiled in one test are found again in the next, and in its processes."""

import os

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope="module", autouse=True)
def kept_programs(tmp_path_factory):
    """Keeps them for the session; for tests that train again and again."""
    own = tmp_path_factory.getbasetemp()  # of this process; those of xdist's workers lie together
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "compiled"
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: jax.config.values[name] for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        compilation_cache.reset_cache()
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))  # for processes
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()

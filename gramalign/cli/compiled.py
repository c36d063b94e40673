"""Programs that were compiled once are found again."""

from pathlib import Path

import jax

_SECONDS = 0.5  # what takes less to compile is not worth a file


def compiled_in(folder: Path) -> None:
    """Keeps compiled programs in a folder, unless JAX_COMPILATION_CACHE_DIR names another."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)

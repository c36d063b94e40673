"""Programs that were compiled once are found again by every later command.

They lie in the user's own cache and not with a run: machine code that comes with somebody else's
run is never loaded.
"""

import contextlib
import os
import time
from pathlib import Path

import jax

_SECONDS = 0.1  # what takes less to compile is not worth a file
_DAYS = 30  # after which a program is compiled again, so that they do not pile up


def keep_programs() -> None:
    """Keeps compiled programs below XDG_CACHE_HOME, or in JAX_COMPILATION_CACHE_DIR if that is set.

    Where nothing can be written, nothing is kept.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(cache) / "gramalign" / "programs"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home
        return
    for program in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another command was faster
            if program.stat().st_mtime < time.time() - _DAYS * 24 * 3600:
                program.unlink()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)

"""A program of the benchmarks in a process of its own, with nothing of this one in its memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_new_process(name: str, *arguments: object) -> dict[str, Any]:
    """What a module of this package prints when it is run, as JSON on its last line.

    JAX keeps to the CPU there.

    Args:
        name: of the module.
        *arguments: the words behind it.

    Raises:
        ChildProcessError: it failed, for instance because it ran out of memory.
    """
    module = f"{__package__}.{name}"
    words = [str(argument) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=Path(__file__).resolve().parents[module.count(".")],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildProcessError(
            f"{module} {' '.join(words)} ended with status {done.returncode}:\n{done.stderr}"
        )
    return json.loads(done.stdout.splitlines()[-1])

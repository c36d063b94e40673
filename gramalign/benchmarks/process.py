"""Runs a program of the benchmarks in a process of its own, with fresh memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Unfinished(ChildProcessError):
    """A program failed, or took too long.

    Attributes:
        last: its last output, if there was any.
    """

    def __init__(self, why: str, printed: str):
        super().__init__(why)
        self.last: dict[str, Any] | None = None
        for line in printed.splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):  # the last may be half of one
                self.last = json.loads(line)


def in_new_process(
    name: str, *arguments: object, seconds: int | None = None, platforms: str = "cpu"
) -> dict[str, Any]:
    """The last line of JSON that a module of this package prints when run as a program.

    Args:
        name: of the module.
        *arguments: its command-line arguments.
        seconds: time after which it is ended; None: never.
        platforms: those that JAX may use there, as in JAX_PLATFORMS; empty: the best it finds.

    Raises:
        Unfinished: it failed, for instance because it ran out of memory, or took too long.
    """
    module = f"{__package__}.{name}"
    words = [str(argument) for argument in arguments]
    called = f"{module} {' '.join(words)}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=Path(__file__).resolve().parents[module.count(".")],
            env={**os.environ, "JAX_PLATFORMS": platforms},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        printed = late.stdout or b""  # bytes, whatever `text` says
        printed = printed if isinstance(printed, str) else printed.decode()
        raise Unfinished(f"{called} took more than {seconds} s", printed) from None
    if done.returncode:
        why = f"{called} ended with status {done.returncode}:\n{done.stderr}"
        raise Unfinished(why, done.stdout)
    return json.loads(done.stdout.splitlines()[-1])

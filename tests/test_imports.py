"""What the package brings in when it is imported: nothing that takes long and few calls want."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gramalign

SLOW = (
    "sklearn",
    "scipy.stats",
    "matplotlib",
    "jinja2",
    "transformers",
    "PIL",
    "av",
    "soundfile",
    "soxr",
)


def test_the_command_line_starts_without_what_only_some_commands_need():
    program = f"import sys, gramalign.cli.main; print([x for x in {SLOW} if x in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[]"


@pytest.mark.parametrize(
    "place", sorted(Path(gramalign.__path__[0]).rglob("__init__.py")), ids=lambda x: x.parent.name
)
def test_packages_list_what_they_offer(place):
    """For `help`, which shows nothing of other modules that is not listed."""
    text = place.read_text()
    imports = [x for x in ast.parse(text).body if isinstance(x, ast.ImportFrom)]
    assert "__all__ = [" in text or not imports
    assert all(name.asname is None for x in imports for name in x.names)

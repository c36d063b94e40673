"""What the package brings in when it is imported: nothing that takes long and few calls want."""

import subprocess
import sys

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

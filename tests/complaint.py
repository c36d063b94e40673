"""What the command line says of words that it refuses."""

import pytest

from gramalign.cli import main


def complaint(capsys, *words: str) -> str:
    """What is printed as it ends with status 2."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    return capsys.readouterr().err

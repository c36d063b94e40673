"""What is logged while a bar is shown stands in a line of its own."""

import logging
import sys

import rich.console
import rich.progress

from gramalign.cli.console import Messages


def test_messages_go_to_what_stderr_is_when_they_come(capsys):
    logger = logging.Logger("here")
    logger.addHandler(Messages())
    before = sys.stderr
    screen = rich.console.Console(force_terminal=True, width=60)
    with rich.progress.Progress(console=screen):
        assert sys.stderr is not before, "rich's, which writes above the bar"
        logger.warning("%d rows of %s", 3, "x")
    said = capsys.readouterr()
    assert "\n3 rows of x\n" in said.out.replace("\x1b[2K", "").replace("\r", "\n")
    assert not said.err
    logger.warning("later")
    assert capsys.readouterr().err == "later\n"

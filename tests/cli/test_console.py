"""What is logged while a bar is shown goes to stderr, and does not spoil the bar."""

import io
import logging
import sys

import rich.console
import rich.progress

from gramalign.cli.console import Messages


class Terminal(io.StringIO):
    """A file that says it is one."""

    def isatty(self):
        return True


def logged_beside_a_bar(monkeypatch, stderr):
    """What the bar's own file and stderr hold."""
    monkeypatch.setattr(sys, "stderr", stderr)
    logger = logging.Logger("here")
    logger.addHandler(Messages())
    screen = rich.console.Console(file=Terminal(), force_terminal=True, width=60)
    with rich.progress.Progress(console=screen):
        logger.warning("%d rows of %s", 3, "x")
    logger.warning("later")
    return screen.file.getvalue(), stderr.getvalue()


def test_on_a_terminal_messages_stand_above_the_bar(monkeypatch):
    shown, after = logged_beside_a_bar(monkeypatch, Terminal())
    assert "3 rows of x" in shown.replace("\x1b[2K", "").replace("\r", "\n").splitlines()
    assert after == "later\n"


def test_a_file_of_messages_has_all_of_them(monkeypatch):
    shown, kept = logged_beside_a_bar(monkeypatch, io.StringIO())
    assert "rows of" not in shown
    assert kept == "3 rows of x\nlater\n"

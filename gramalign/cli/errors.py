"""What a command that cannot go on says, and the status it ends with."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import rich.text

from gramalign.cli.console import console
from gramalign.error_text import text_of
from gramalign.training import Interrupted, NonFiniteLoss

INTERRUPTED = 75  # what sysexits.h calls a temporary failure: try again
BY_HAND = 130  # what a shell says of SIGINT


@contextmanager
def explained(goes_on: str = "") -> Iterator[None]:
    """Explains errors in a line instead of a trace.

    Args:
        goes_on: how to go on after Ctrl-C or SIGTERM, if that can be.

    Raises:
        SystemExit: with status 2 for options or data that make no sense, 1 for a run that failed,
            75 for one that was told to end, has saved itself, and wants to be resumed, 130 after
            Ctrl-C, whether that was saved or not.
    """
    cure = f"; {goes_on} continues from the last checkpoint" if goes_on else ""

    def say(word: str, style: str, text: str) -> None:
        told = rich.text.Text.assemble((word, style), text)
        console(stderr=True).print(told, soft_wrap=True)

    try:
        yield
    except (ValueError, OSError) as error:
        say("error:", "bold red", f" {text_of(error)}")
        raise SystemExit(2) from error
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        what = str(error).partition("\n")[0]
        told = f" {what}. Another process of the run may have ended: see what it printed{cure}"
        say("stopped:", "bold red", told)
        raise SystemExit(1) from error
    except NonFiniteLoss as error:
        say("stopped:", "bold red", f" {error}")
        raise SystemExit(1) from error
    except Interrupted as error:
        say("stopped:", "bold", f" {error}{cure}")
        raise SystemExit(BY_HAND if error.by_hand else INTERRUPTED) from None
    except KeyboardInterrupt:
        say("interrupted", "", cure)
        raise SystemExit(BY_HAND) from None


@contextmanager
def until_unread() -> Iterator[None]:
    """Ends quietly, as rich does, once nobody reads what is printed, as after `| head -1`.

    Raises:
        SystemExit: with status 1.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush
        raise SystemExit(1) from None

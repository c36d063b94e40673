"""Where `gramalign ...` arrives: find the command, read its options, run it, explain its errors."""

import logging
import os
import platform
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Union

import jax
import tyro

from gramalign import __version__
from gramalign.cli.bench import Bench
from gramalign.cli.classify import Classify
from gramalign.cli.compare import Compare
from gramalign.cli.console import Messages, console
from gramalign.cli.embed import Embed
from gramalign.cli.encoders import Encoders
from gramalign.cli.errors import BY_HAND, explained, until_unread
from gramalign.cli.evaluate import Evaluate
from gramalign.cli.export import Export
from gramalign.cli.features import Features
from gramalign.cli.join import Join
from gramalign.cli.methods import Methods
from gramalign.cli.options import (
    SharedOptions,
    as_typed,
    check_once,
    options,
    told_by_option,
    words_after,
)
from gramalign.cli.pack import Pack
from gramalign.cli.plan import Plan
from gramalign.cli.presets import preset
from gramalign.cli.report import Report
from gramalign.cli.robustness import Robustness
from gramalign.cli.runs import Runs
from gramalign.cli.search import Search
from gramalign.cli.stablehlo import StableHLO
from gramalign.cli.train import Train, default_out
from gramalign.files import check_local
from gramalign.training import Config
from gramalign.training.run_folder import RunFolder

DESCRIPTION = """Align any number of modalities in one space, and measure how well they agree.

Start with: gramalign train digits

Then: gramalign evaluate runs/digits

Versions: gramalign --version"""

COMMANDS = {
    "train": Train,
    "evaluate": Evaluate,
    "robustness": Robustness,
    "classify": Classify,
    "embed": Embed,
    "export": Export,
    "stablehlo": StableHLO,
    "search": Search,
    "compare": Compare,
    "report": Report,
    "runs": Runs,
    "features": Features,
    "encoders": Encoders,
    "join": Join,
    "pack": Pack,
    "methods": Methods,
    "bench": Bench,
    "plan": Plan,
}

_PARTING = 5  # seconds that processes with one error need at most to end together
_GOES_ON = {"train": "--resume", "compare": "the same command", "features": "the same command"}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: the words after `gramalign`; None: those the process was started with.

    Raises:
        SystemExit: as `gramalign.cli.errors.explained`.
    """
    alone = args is None
    if alone:
        _print_messages()
    args = list(map(_at_home, sys.argv[1:] if args is None else args))
    if args == ["--version"]:
        versions = f"jax {jax.__version__}, Python {platform.python_version()}"
        console().print(f"gramalign {__version__}, {versions}")
        return
    try:
        with explained(_GOES_ON.get(args[0], "") if args else ""):
            with until_unread():  # options print their help
                command = _read(args)
            for path in vars(command).values():
                if isinstance(path, Path):
                    check_local(path)
            with told_by_option(command):
                command.run()
    except SystemExit as end:
        if alone and end.code == BY_HAND:
            # What is being compiled cannot be ended otherwise, and would end in a crash.
            _leave(BY_HAND)
        if alone and isinstance(end.code, int) and end.code and jax.distributed.is_initialized():
            # The others either end as well, or wait for this process and must see it gone.
            parting = threading.Thread(target=jax.distributed.shutdown, daemon=True)
            parting.start()
            parting.join(_PARTING)
            _leave(end.code)
        raise


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _at_home(word: str) -> str:
    """A word of the command line as a shell would have it that expands every ~.

    >>> _at_home("--out=~/run").startswith("--out=/"), _at_home("~x"), _at_home("a~/b")
    (True, '~x', 'a~/b')
    """
    option, equals, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{os.path.expanduser(path)}" if path.startswith("~/") else word


def _to_resume(args: Sequence[str]) -> Config | None:
    """The config of the run that a command without a preset goes on with: its own options.

    Raises:
        ValueError: there is none, and nothing says what else to train.
    """
    out, data = words_after("--out", args), words_after("--data", args)
    if "--resume" not in args or (data and not out):
        return None
    folder = RunFolder(Path(out[0]) if out else default_out("digits", Config()))
    if folder.config.exists():
        return folder.saved_config()
    if data:
        return None
    raise ValueError(
        f"no run in {folder.root} to resume: give its folder as --out, or for a run that begins "
        "there if none has, a preset or --data"
    )


def _print_messages() -> None:
    """What gramalign has to tell goes to the screen as it is, whatever others make of their own."""
    logger = logging.getLogger("gramalign")
    logger.addHandler(Messages())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _read(args: list[str]) -> Any:
    # The preset's values are the defaults of all other options, and the objective says which terms
    # have any, so both have to be known before these can be read. The preset is the word after the
    # command, if that is not an option.
    name = args[0] if args else ""
    if name in COMMANDS:
        check_once(args, COMMANDS[name])
    named = args[1] if len(args) > 1 and not args[1].startswith("-") else "digits"
    start = preset(named if name in ("train", "compare", "plan") else "digits")
    if name == "train" and args[1:2] != [named]:
        start = _to_resume(args) or start
    if name == "compare":
        if words_after("--objective", args):
            raise ValueError("--objective is for train: give the objectives with --objectives")
        objectives = words_after("--objectives", args) or Compare.objectives
    else:
        objectives = words_after("--objective", args)[:1] or [start.objective]
        start = replace(start, objective=objectives[0])
    config = options(start, objectives, args)
    shared = SharedOptions(**{each.name: getattr(config, each.name) for each in fields(config)})
    defaults = {
        "train": Train(named, config=config),
        "compare": Compare(named, (start.data,), config=shared),
        "plan": Plan(named, config=config),
    }
    with as_typed():
        if name in COMMANDS:  # alone, or those of others would be among the options that are meant
            default = {"default": defaults[name]} if name in defaults else {}
            return tyro.cli(COMMANDS[name], prog=f"gramalign {name}", args=args[1:], **default)
        command = partial(tyro.conf.subcommand, prefix_name=False)
        every: Any = Union[  # noqa: UP007
            tuple(Annotated[kind, command(x)] for x, kind in COMMANDS.items())
        ]
        return tyro.cli(every, prog="gramalign", description=DESCRIPTION, args=args)

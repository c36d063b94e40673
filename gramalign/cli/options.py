"""A config as options: which there are depends on the preset and on the objective."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Annotated, Any, get_args

import tyro

from gramalign.cli.media import Words
from gramalign.training import Config
from gramalign.training.expression import parse
from gramalign.training.own_terms import in_order, term_named
from gramalign.training.term import Term
from gramalign.training.terms import TERMS

_POSITIONAL = get_args(tyro.conf.Positional[str])[1]
_WORDS = get_args(Words)[1]


@dataclass(frozen=True)
class Options(Config):
    """A training run, but for where it is kept."""

    settings: Annotated[Mapping[str, Term], tyro.conf.arg(name="")] = field(
        default_factory=dict, hash=False
    )
    """Settings of terms, by name; the objective's other terms take their defaults."""


@dataclass(frozen=True)
class SharedOptions(Options):
    """What all runs of a comparison have in common, which names data and objectives itself."""

    data: tyro.conf.SuppressFixed[tyro.conf.Fixed[str]] = "digits"
    objective: tyro.conf.SuppressFixed[tyro.conf.Fixed[str]] = "gram"


def options(start: Config, objectives: Sequence[str], args: Sequence[str]) -> Options:
    """The config to start from, with the settings of the terms that some objectives name, alone.

    Args:
        start: a preset's config.
        objectives: those of the command; they need not be that of the config.
        args: the command line.

    Raises:
        ValueError: an unknown term, or a setting of one that no objective names.
    """
    named = {term for objective in objectives for term in parse(objective, TERMS)}
    for word in args:
        match = re.match(r"--(\w[\w.:-]*)\.", word)
        term = match[1].replace("-", "_") if match else ""
        if (term in TERMS or ":" in term) and term not in named:
            raise ValueError(
                f"{word} belongs to a term that is not in any objective: {', '.join(objectives)}"
            )
    values = {each.name: getattr(start, each.name) for each in fields(start)}
    settings = {x: start.settings.get(x, term_named(x)()) for x in in_order(named)}
    return Options(**{**values, "settings": settings})


def words_after(option: str, args: Sequence[str]) -> list[str]:
    """What an option is given on a command line, which is nothing if it is not there.

    >>> words_after("--objectives", ["digits", "--objectives", "gram", "clip", "--seeds", "3"])
    ['gram', 'clip']
    """
    for place, word in enumerate(args):
        if word.startswith(f"{option}="):
            return [word.removeprefix(f"{option}=")]
        if word == option:
            rest = args[place + 1 :]
            end = next((n for n, x in enumerate(rest) if x.startswith("--")), len(rest))
            return list(rest[:end])
    return []


def check_once(args: Sequence[str], command: type) -> None:
    """Refuses an option that is given again, unless it is of `Words`, which all count.

    Args:
        args: the command line.
        command: its class.

    Raises:
        ValueError: only the words of the last would count.
    """
    again = {f"--{each.name}" for each in fields(command) if _WORDS in get_args(each.type)}
    given = [x.partition("=")[0].replace("_", "-") for x in args if x.startswith("--")]
    for option in sorted({*given} - again):
        if given.count(option) > 1:
            raise ValueError(
                f"{option} is given {given.count(option)} times, of which only the last would "
                "count: give it once, with all its words"
            )


@contextlib.contextmanager
def as_typed() -> Iterator[None]:
    """What a config refuses while tyro builds it is told of the options that were typed.

    Raises:
        ValueError: in place of the config's own.
        SystemExit: tyro's, for words that it cannot read, with what it prints.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as stop:
        # What a part of the config refuses, tyro prints, by a name for that part that is its own.
        refused = stop.__context__
        place, message = (getattr(refused, name, None) for name in ("arg", "message"))
        if isinstance(place, str) and isinstance(message, str):
            said.truncate(0)
            part = place.partition(".settings.")[2] or place.rpartition(".")[2]
            raise ValueError(_typed(message, part)) from None
        if isinstance(refused, ValueError):  # of the command itself, which is no part
            said.truncate(0)
            raise ValueError(_typed(str(refused))) from None
        raise
    except ValueError as error:
        raise ValueError(_typed(str(error))) from None
    finally:
        sys.stderr.write(said.getvalue())


@contextlib.contextmanager
def told_by_option(command: Any) -> Iterator[None]:
    """What a command refuses by the name of an argument is told of the option that was typed.

    Args:
        command: an instance of its class.

    Raises:
        ValueError: that of the block, with another first word.
    """
    try:
        yield
    except ValueError as error:
        begins = re.match(r"(\w+)(?= is |: )", str(error))
        parts = [command, *([command.config] if hasattr(command, "config") else [])]
        names = {each.name for part in parts for each in fields(part) if _has_option(each)}
        if begins and begins[1] in names:
            option = "--" + begins[1].replace("_", "-")
            error.args = (option + str(error).removeprefix(begins[1]),)
        raise


def _has_option(field: Field) -> bool:
    return _POSITIONAL not in get_args(field.type)


def _typed(message: str, part: str = "") -> str:
    """The error of a config, or of a part of it, with fields named as options.

    >>> _typed("Optimizer.warmup is 9, wanted fewer than Config.steps, which is 5")
    '--optimizer.warmup is 9, wanted fewer than --steps, which is 5'
    >>> _typed("Gap.log_scale is -1", "modality_gap"), _typed("tile is 0", "engine")
    ('--modality-gap.log-scale is -1', '--engine.tile is 0')
    >>> _typed("my.mod:hinge.far_off is -1", "my.mod:hinge"), _typed("no two alike", "my.mod:Odd")
    ('--my.mod:hinge.far-off is -1', '--my.mod:Odd: no two alike')
    >>> _typed("--repeats must be at least 1", "Bench")
    '--repeats must be at least 1'
    """
    if ":" in part:  # a method of one's own, which may say anything
        of_field = re.match(r"(?:\S*\.)?(\w+ (?:is|must) .*)", message, re.DOTALL)
        message = f"--{part}.{of_field[1]}" if of_field else f"--{part}: {message}"
    elif part.islower() and not message.startswith("--"):  # a command's own name is not
        message = re.sub(r"^([A-Z]\w*\.)?", f"--{part}.", message)
    message = re.sub(r"\b(Config|\w*Options)\.", "--", message)
    message = message.replace("Optimizer.", "--optimizer.")
    return re.sub(r"--[a-z][\w.:-]*", lambda option: option[0].replace("_", "-"), message)

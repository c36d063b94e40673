"""The commands that make again what stands in a run's folder."""

import shlex
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from gramalign.cli.presets import preset
from gramalign.training import Config

_PRESET = "digits"  # whose values options have where no preset is named


def command_of(config: Config, out: Path) -> str:
    """A command line for a shell: every option whose value is not that of the preset.

    Args:
        config: the run.
        out: the folder to train in.

    Returns:
        The command.
    """
    start = preset(_PRESET)
    # The settings that are there depend on the objective.
    before = dict(_options(replace(start, objective=config.objective)))
    before["objective"] = start.objective
    words = ["gramalign", "train", _PRESET, "--out", str(out)]
    for name, value in _options(config):
        if before[name] != value:
            words += _words(name, value)
    return shlex.join(words)


def options_of(command: Any) -> list[str]:
    """The options of a command, an instance of its class, whose values are not the defaults."""
    return [
        word
        for field in fields(command)
        if field.default is not MISSING and getattr(command, field.name) != field.default
        for word in _words(field.name, getattr(command, field.name))
    ]


def _options(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All options by name; of the settings only those of the objective's own terms."""
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name == "settings":
            for name, term in config.terms.items():
                yield from _options(term, f"{name}.")
        elif is_dataclass(value):
            yield from _options(value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", value


def _words(name: str, value: Any) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        parent, _, last = option.rpartition(".")
        option = option if value else f"{parent}{'.' if parent else ''}no-{last}"
        return [f"--{option}"]
    return [f"--{option}", *_values(value)]


def _values(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [word for inner in value for word in _values(inner)]
    return [str(value)]

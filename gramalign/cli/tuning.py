"""A fair hyperparameter search: as many settings for each objective, chosen on held-out rows.

An option is searched as the command line writes it: `optimizer.learning-rate=1e-3,3e-3`. One that
terms have is named with its term, `gram.temperature`, or without: `temperature` is that of every
term that has one.
"""

import contextlib
import dataclasses
import io
import itertools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from gramalign.evaluation import Cell, Grid
from gramalign.evaluation.records import Record
from gramalign.training import Config, NonFiniteLoss

Options = Mapping[str, Sequence[str]]
"""What is searched: option -> what it is tried with, as text."""

SEED = 2**32 - 1
"""Of the runs of a search: the last there is, so that it is none of those compared."""

_KEPT = ("data", "modalities", "objective", "seed", "steps", "validation", "start_from", "freeze")


@dataclass(frozen=True)
class Tuned(Record):
    """What a search for one objective found.

    Attributes:
        tried: setting -> its figure on held-out rows; NaN where training diverged.
        chosen: the setting with the best.
        at_edge: options of three numbers or more whose smallest or largest was chosen: there may
            be better ones beyond.
    """

    tried: Mapping[str, float]
    chosen: str
    at_edge: tuple[str, ...]


def searched(words: Iterable[str]) -> Options:
    """Reads what is searched.

    Raises:
        ValueError: a word of another form, or an option or a value twice.

    >>> searched(["model.dropout=0.1,0.4", "model.tower=mine:Tower(a=1,b=2),mine:Other"])
    {'model.dropout': ('0.1', '0.4'), 'model.tower': ('mine:Tower(a=1,b=2)', 'mine:Other')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        option, _, rest = word.partition("=")
        option, values = option.lstrip("-").replace("_", "-"), tuple(_split(rest))
        if not option or not all(values) or "/" in word:
            raise ValueError(
                f"tune: got {word!r}, expected OPTION=VALUE,VALUE such as "
                "optimizer.learning-rate=1e-3,3e-3"
            )
        if option in found or len(set(values)) < len(values):
            raise ValueError(f"tune: {word!r} names an option or a value twice")
        found[option] = values
    return found


def _split(text: str) -> list[str]:
    """The parts between commas, but for those in brackets, which are of one value."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def fair_settings(configs: Mapping[str, Config], options: Options) -> dict[str, dict[str, Config]]:
    """All settings to try.

    Args:
        configs: objective -> its config.
        options: what is searched.

    Returns:
        Objective -> setting, such as `model.dropout=0.1,temperature=0.05` -> the config of a run
        that measures it on held-out rows: at its end, unless the config says when.

    Raises:
        ValueError: an option that no objective has or that is not searched, a value that it does
            not take, more settings for one objective than for another, or runs of 0 steps.
    """
    if any(config.steps == 0 for config in configs.values()):
        raise ValueError("tune: steps is 0, expected at least 1: runs of 0 steps are not validated")
    for option in options:
        if not any(list(_places(config, option)) for config in configs.values()):
            raise ValueError(
                f"tune: no objective has an option {option}; gramalign train --help lists the "
                "options, and gramalign methods NAME those of a term"
            )
    found = {objective: _settings(config, options) for objective, config in configs.items()}
    if len({len(settings) for settings in found.values()}) > 1:
        numbers = (f"{len(settings)} for {objective}" for objective, settings in found.items())
        raise ValueError(
            f"tune: got different numbers of settings, {', '.join(numbers)}, expected the same for "
            "all, for a fair search: add options of those that have fewer, such as "
            "pmrl.tau-instance=0.05,0.1"
        )
    return found


def chosen(tried: Mapping[str, float], options: Options, *, lowest: bool) -> Tuned:
    """Chooses a setting: of equals, the first.

    Args:
        tried: setting -> its figure.
        options: what was searched.
        lowest: small figures are good.

    Raises:
        NonFiniteLoss: no setting has a figure.
    """
    known = {setting: figure for setting, figure in tried.items() if not math.isnan(figure)}
    if not known:
        raise NonFiniteLoss(
            f"tune: training diverged under every setting: {'; '.join(tried)}; try smaller "
            "learning rates or larger temperatures"
        )
    best = (min if lowest else max)(known, key=known.__getitem__)
    pairs = (pair.split("=", 1) for pair in _split(best) if pair)
    return Tuned(
        dict(tried), best, tuple(name for name, value in pairs if _at_edge(value, options[name]))
    )


def tuning_grid(found: Mapping[str, Tuned], figure: str, *, title: str) -> Grid:
    """Objectives against what was chosen for them, and by how much.

    Args:
        found: objective -> what its search found.
        figure: what was measured on held-out rows.
        title: of the table.
    """
    rows = []
    for objective, each in found.items():
        known = [x for x in each.tried.values() if not math.isnan(x)]
        texts = objective, each.chosen.replace(",", ", "), ", ".join(each.at_edge)
        numbers = f"{each.tried[each.chosen]:.1f}", f"{min(known):.1f} to {max(known):.1f}"
        rows.append(tuple(map(Cell, (*texts, *numbers, str(len(each.tried))))))
    columns = ("objective", "setting", "at an edge", figure, "of all", "tried")
    caption = (
        f"each setting was trained once and measured by {figure} on rows held out of the training "
        "part; there may be a better one beyond an edge"
    )
    return Grid(title, columns, tuple(rows), caption, labels=3)


def _at_edge(value: str, values: Sequence[str]) -> bool:
    try:
        numbers = sorted(map(float, values))
    except ValueError:
        return False
    return len(numbers) > 2 and float(value) in (numbers[0], numbers[-1])


def _settings(config: Config, options: Options) -> dict[str, Config]:
    """Every combination of those options that the config has."""
    places = {option: list(_places(config, option)) for option in options}
    named = [place for each in places.values() for place in each]
    if len(set(named)) < len(named):
        raise ValueError(
            f"tune: two of {', '.join(options)} set the same option of {config.objective}: drop one"
        )
    here = [option for option in options if places[option]]
    found = {}
    for values in itertools.product(*(options[option] for option in here)):
        setting = dict(zip(here, values, strict=True))
        name = ",".join(f"{option}={value}" for option, value in setting.items())
        found[name] = _searching(
            _changed(config, {place: setting[o] for o in here for place in places[o]})
        )
    return found


def _searching(config: Config) -> Config:
    every = config.validation.every or config.steps
    validation = dataclasses.replace(config.validation, every=every)
    return dataclasses.replace(config, seed=SEED, validation=validation)


def _places(config: Config, option: str) -> Iterator[tuple[str, str]]:
    """Where an option stands: a part of the config or a term, "" for itself, and a field of it."""
    part, _, field = option.replace("-", "_").rpartition(".")
    if (part or field) in _KEPT:
        raise ValueError(
            f"tune: {option} cannot be tuned: it says what is compared, by what, or for how long"
        )
    inside = part or field in _fields(config)
    named = {part: _owner(config, part)} if inside else config.terms
    yield from ((name, field) for name, owner in named.items() if field in _fields(owner))


def _fields(owner: Any) -> list[str]:
    """Of those that hold one value."""
    if not dataclasses.is_dataclass(owner):
        return []
    values = {field.name: getattr(owner, field.name) for field in dataclasses.fields(owner)}
    return [
        name
        for name, value in values.items()
        if not isinstance(value, Mapping | tuple) and not dataclasses.is_dataclass(value)
    ]


def _changed(config: Config, texts: Mapping[tuple[str, str], str]) -> Config:
    """The config with all of these fields as the command line would read them."""
    changes: dict[str, dict[str, Any]] = {}
    for (part, field), text in texts.items():
        changes.setdefault(part, {})[field] = _read(_owner(config, part), field, text)
    changed = {x: dataclasses.replace(_owner(config, x), **changes[x]) for x in changes if x}
    terms = {name: changed.pop(name) for name in config.terms if name in changed}
    settings = {**config.settings, **terms}
    return dataclasses.replace(config, settings=settings, **changed, **changes.get("", {}))


def _owner(config: Config, part: str) -> Any:
    return config.terms.get(part) or getattr(config, part, None) if part else config


def _read(owner: Any, field: str, text: str) -> Any:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(typing.get_type_hints(type(owner))[field], args=[text])
    except SystemExit:
        name = f"{type(owner).__name__}.{field}"
        raise ValueError(f"tune: {name} does not take {text!r}") from None

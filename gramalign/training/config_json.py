"""A config as JSON and back, and the differences between two configs."""

import dataclasses
import json
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gramalign.data.expression import parse
from gramalign.data.sources import EMBEDDED
from gramalign.training.checks import as_tuples
from gramalign.training.config import Config
from gramalign.training.own_terms import term_named
from gramalign.training.terms import TERMS

# Free to change on resumption, so that an error's cure or a machine of another size is accepted;
# of these, what changes results does so by rounding.
_FREE = (
    *("layout", "microbatch", "model.remat"),
    *("engine.strategy", "engine.tile", "engine.implementation"),
    *("workers", "on_bad_record", "max_skips"),
    *("checkpoint_every", "keep_checkpoints", "writers"),
)


def config_to_json(config: Config) -> str:
    """The whole config, defaults included, as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def config_from_json(text: str) -> Config:
    """Rebuilds a config; fields that `text` leaves out take their defaults.

    Raises:
        ValueError: an unknown field, or a value that the config refuses.
    """
    return config_from_dict(json.loads(text))


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """As `config_from_json`, from the parsed JSON object."""
    return _build(Config, values, path="")


def differences(old: Config, new: Config, *, moved: bool = False) -> list[str]:
    """Names every field that differs, as `optimizer.learning_rate: 0.001 -> 0.002`.

    Compares settings only of terms that both objectives have; others make no difference. Ignores
    what may change when a run is resumed: its layout and what else saves memory or time alone, how
    it reads data, what it keeps, and which faults it tolerates.

    Args:
        old: one config.
        new: the other.
        moved: whether stores that no longer exist at their old path may be those at a new path.
    """
    before, after = flat(old, without=_FREE), flat(new, without=_FREE)
    return [
        f"{path}: {before[path]!r} -> {after[path]!r}"
        for path in before
        if path in after and before[path] != after[path]
        if path != "data" or not _same_stores(old.data, new.data, moved)
        if path != "augment" or not _same_function(old.augment, new.augment, moved)
        if path != "start_from" or not _same_run(old.start_from, new.start_from)
    ]


def flat(config: Config, without: Collection[str] = ()) -> dict[str, Any]:
    """Fields by names such as `optimizer.learning_rate`; settings of the objective's terms alone.

    Args:
        config: the config.
        without: such names, also of groups of fields, to leave out.
    """
    return dict(_flatten(config, without))


def _same_stores(before: str, after: str, moved: bool) -> bool:
    """Whether two expressions mix the same stores, relative to the current folder."""
    old, new = parse(before, EMBEDDED), parse(after, EMBEDDED)

    def same(name: str, other: str) -> bool:
        if name in EMBEDDED or other in EMBEDDED:
            return name == other
        return _same_place(name, other, moved)

    return list(old.values()) == list(new.values()) and all(map(same, old, new))


def _same_place(before: str, after: str, moved: bool) -> bool:
    there = Path(before).exists()
    return Path(before).resolve() == Path(after).resolve() if there else moved


def _same_run(before: str | None, after: str | None) -> bool:
    """Whether two names are of one run: of its folder, or of the weights in it."""
    if before is None or after is None or not Path(before).exists():
        return False
    places = (Path(name).resolve() for name in (before, after))
    one, other = (x.parent if x.name == "params.safetensors" else x for x in places)
    return one == other


def _same_function(before: str | None, after: str | None, moved: bool) -> bool:
    """Whether two names are of one function, in a file of one name that may have moved."""
    if before is None or after is None:
        return False
    (file, _, name), (other, _, other_name) = before.partition(":"), after.partition(":")
    same = (Path(file).name, name) == (Path(other).name, other_name)
    return same and file.endswith(".py") and _same_place(file, other, moved)


def _build(kind: type, values: Mapping[str, Any], path: str) -> Any:
    types = typing.get_type_hints(kind)
    _check_mapping(values, path)
    names = [field.name for field in dataclasses.fields(kind)]
    _refuse_unknown(values, names, path)
    built = {}
    for name, value in values.items():
        if name == "settings":
            _check_mapping(value, "settings.")
            _refuse_unknown([x for x in value if ":" not in x], TERMS, "settings.")
            value = {x: _build(term_named(x), value[x], f"settings.{x}.") for x in value}
        elif dataclasses.is_dataclass(types[name]):
            value = _build(typing.cast(type, types[name]), value, f"{path}{name}.")
        built[name] = as_tuples(value)
    return kind(**built)


def _check_mapping(values: Any, path: str) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"config: {path[:-1] or 'the whole'} is {values!r}, expected an object")


def _refuse_unknown(values: Iterable[str], known: Collection[str], path: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"config: unknown {path}{unknown[0]}; known there: {', '.join(known)}")


def _flatten(config: Any, without: Collection[str], path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "settings":
            for name, term in config.terms.items():
                yield from _flatten(term, without, f"{name}.")
        elif f"{path}{field.name}" in without:
            continue
        elif dataclasses.is_dataclass(value):
            yield from _flatten(value, without, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", value

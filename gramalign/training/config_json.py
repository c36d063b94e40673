"""A config as JSON and back, and what sets two configs apart."""

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from gramalign.training.config import Config


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
    """As `config_from_json`, from the object that JSON stands for."""
    return _build(Config, values, path="")


def differences(old: Config, new: Config) -> list[str]:
    """Names every field that differs, as `optimizer.learning_rate: 0.001 -> 0.002`."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    return [
        f"{path}: {before[path]!r} -> {after[path]!r}"
        for path in before
        if before[path] != after[path]
    ]


def _build(kind: type, values: Mapping[str, Any], path: str) -> Any:
    types = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"config: unknown {path}{unknown[0]}; known there: {', '.join(names)}")
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(types[name]):
            value = _build(typing.cast(type, types[name]), value, f"{path}{name}.")
        built[name] = tuple(value) if isinstance(value, list) else value
    return kind(**built)


def _flatten(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flatten(value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", value

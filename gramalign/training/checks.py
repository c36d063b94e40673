"""How a config says that a field is wrong."""

import dataclasses
import functools
import os
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np


def check(config: object, field: str, valid: bool, wanted: str) -> None:
    """Raises unless `valid`.

    Args:
        config: the dataclass that is being checked.
        field: name of its field.
        valid: whether the field's value will do.
        wanted: what would have.

    Raises:
        ValueError: names the field, what it got and what was wanted.
    """
    if not valid:
        got = getattr(config, field)
        raise ValueError(f"{type(config).__name__}.{field} is {got!r}, wanted {wanted}")


def as_declared(config: Any) -> None:
    """Makes Python's numbers of numpy's, tuples of lists, and refuses what a field is not for.

    To be called as a frozen dataclass is built: a config is hashed, compared, and kept as JSON.

    Raises:
        ValueError: a field that holds nothing of the kinds that it is declared to be.
    """
    for name, kinds in _declared(type(config)).items():
        value = getattr(config, name)
        if isinstance(value, np.generic):
            value = value.item()
        if tuple in kinds:
            value = as_tuples(value)
        if str in kinds and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
            value = int(value)
        object.__setattr__(config, name, value)
        known = [kind for kind in kinds if kind in _KINDS or dataclasses.is_dataclass(kind)]
        if len(known) == len(kinds):
            wanted = (_KINDS.get(kind) or f"a {kind.__name__}(...)" for kind in kinds)
            check(config, name, _is_any(value, kinds), " or ".join(wanted))


_KINDS = {
    None: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a tuple",
}


def _is_any(value: Any, kinds: tuple[Any, ...]) -> bool:
    if value is None or isinstance(value, bool):  # which Python takes for a number
        return (None if value is None else bool) in kinds
    classes = tuple(kind for kind in kinds if kind is not None)
    return isinstance(value, (*classes, int) if float in kinds else classes)


def as_tuples(value: Any) -> Any:
    """Tuples in the place of lists, at every depth."""
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


@functools.cache
def _declared(kind: type) -> Mapping[str, tuple[Any, ...]]:
    """What each field may be: None, and classes."""
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        several = typing.get_origin(hint) in (typing.Union, types.UnionType)
        choices = typing.get_args(hint) if several else (hint,)
        found[name] = tuple(
            None if choice is types.NoneType else typing.get_origin(choice) or choice
            for choice in choices
        )
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: choices for name, choices in found.items() if name in names}

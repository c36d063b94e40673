"""Checks of config fields, and the errors that they raise."""

import dataclasses
import functools
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def check(config: object, field: str, valid: bool, wanted: str) -> None:
    """Raises unless `valid`.

    Args:
        config: the dataclass that is being checked.
        field: name of its field.
        valid: whether the field's value is valid.
        wanted: what a valid value is.

    Raises:
        ValueError: names the field, what it got and what was expected.
    """
    if not valid:
        got = getattr(config, field)
        shown = repr(got)
        if len(shown) > 200:  # such as a module with its weights
            shown = f"a {type(got).__name__}"
        raise ValueError(f"{type(config).__name__}.{field} is {shown}, expected {wanted}")


def check_pattern(config: object, field: str, pattern: str) -> None:
    """Raises unless a pattern of a field is a regular expression.

    Raises:
        ValueError: names the field and the pattern.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{type(config).__name__}.{field}: {pattern!r} is not a regular expression: {error}"
        ) from None


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a field's values must be besides of its type, in which it stands: `Annotated[...]`."""

    valid: Callable[[Any], bool]
    wanted: str


POSITIVE = Bound(lambda x: x > 0, "a positive number")
SHARE = Bound(lambda x: 0 <= x <= 1, "a number in [0, 1]")
WEIGHT = Bound(lambda x: 0 <= x < math.inf, "finite, at least 0")


def at_least(least: int) -> Bound:
    """The bound of values that are this or more."""
    return Bound(lambda x: x >= least, f"at least {least}")


def as_declared(config: Any) -> None:
    """Converts NumPy numbers to Python's and lists to tuples; checks fields' types and bounds.

    Call it from `__post_init__` of a frozen dataclass: configs are hashed, compared, kept as JSON.

    Raises:
        ValueError: a field whose value is not of a type that it is declared with, or out of bounds.
    """
    for name, (kinds, bounds) in _declared(type(config)).items():
        value = getattr(config, name)
        if isinstance(value, (np.generic, np.ndarray, jax.Array)) and np.ndim(value) == 0:
            value = value.item()
        if any(typing.get_origin(kind) is tuple for kind in kinds):
            value = as_tuples(value)
        if str in kinds and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
            value = int(value)
        object.__setattr__(config, name, value)
        wanted = " or ".join(map(_spelt, kinds))
        check(config, name, any(_is_one(value, kind) for kind in kinds), wanted)
        for bound in bounds if value is not None else ():
            wanted = bound.wanted + (", or none" if None in kinds else "")
            check(config, name, bound.valid(value), wanted)


_KINDS = {
    None: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Mapping: "a mapping",
}


def _spelt(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        inside = [_spelt(x) for x in typing.get_args(kind) if x is not ...]
        several = ... in typing.get_args(kind)
        return f"a tuple, each {inside[0]}" if several else f"a tuple of {' and '.join(inside)}"
    bare = typing.get_origin(kind) or kind
    return _KINDS.get(bare) or f"{bare.__name__}(...)"


def _is_one(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, which may be None."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind is None:
        return value is None
    if origin is typing.Literal:
        return isinstance(value, str) and value in inside
    if kind in (int, float):  # Python takes True for 1
        number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        return number and value == value  # NaN is none: no run with it would match its own config
    if origin is not tuple:
        return isinstance(value, origin or kind)
    each = inside[:1] * len(value) if isinstance(value, tuple) and ... in inside else inside
    return isinstance(value, tuple) and len(value) == len(each) and all(map(_is_one, value, each))


def as_tuples(value: Any) -> Any:
    """Tuples in the place of lists, at every depth."""
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


@functools.cache
def _declared(kind: type) -> Mapping[str, tuple[list[Any], list[Bound]]]:
    """The types that each field may have, None and classes, and the bounds of its values."""
    hints = [typing.get_type_hints(x, include_extras=True) for x in kind.__mro__]
    found = {}
    for name in (field.name for field in dataclasses.fields(kind)):
        each = [choices(of_class[name]) for of_class in hints if name in of_class]
        # A subclass may give a field another default, but no values that its base does not take.
        found[name] = each[0][0], list(dict.fromkeys(bound for _, x in each for bound in x))
    return found


def choices(hint: Any) -> tuple[list[Any], list[Bound]]:
    """The types of a hint, and the bounds that stand in it."""
    inside, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is typing.Annotated:
        kinds, bounds = choices(inside[0])
        return kinds, bounds + [x for x in inside[1:] if isinstance(x, Bound)]
    if origin in (typing.Union, types.UnionType):
        each = [choices(x) for x in inside]
        return [y for x, _ in each for y in x], [y for _, x in each for y in x]
    return [None if hint is types.NoneType else hint], []

"""Settings as pretrained models have them, each checked against what stands for it by default."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gramalign.files import read_json

Settings = Mapping[str, Any]
"""By name, as JSON has them."""

_PAIRS = ("image_size", "patch_size", "patch_stride")
"""Height and width, of which one or both are given."""
_FROM_ZERO = (
    *("type_vocab_size", "num_register_tokens", "pad_token_id", "eos_token_id"),
    "resample",
)
"""Whole numbers that may be 0; no other may."""
_ANY_NUMBER = ("mean", "silence", "frequency_min")
"""Numbers that may be 0 or below; no other may."""
_OR_NONE = ("projection_dim", "projection_size")
"""Sizes of what a model may be without."""


def read_settings(path: Path) -> dict[str, Any]:
    """Reads settings of a JSON file.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected settings by name")
    return content


def part_of(settings: Settings, name: str) -> dict[str, Any]:
    """The settings that stand under one name; none, if that is null or not there.

    Raises:
        ValueError: there is something else.
    """
    found = settings.get(name)
    if not isinstance(found, dict | None):
        raise ValueError(f"{name} is {found!r}, expected settings by name")
    return found or {}


def settled(defaults: Settings, given: Settings, part: str = "") -> dict[str, Any]:
    """The defaults, with what is given in their place.

    Args:
        defaults: those that something is made by; None for a size that has to be given.
        given: of any names and kinds, as a file has them.
        part: under which name of the file they stand, for messages.

    Raises:
        ValueError: one that is not of the kind of its default: true or false, a text, a number
            above 0, or a list of such numbers. What is of another kind is left to the caller.

    >>> settled({"hidden_size": 768, "qkv_bias": True}, {"hidden_size": 24, "unknown": None})
    {'hidden_size': 24, 'qkv_bias': True, 'unknown': None}
    >>> settled({"hidden_size": 768}, {"hidden_size": 0})
    Traceback (most recent call last):
    ValueError: hidden_size is 0, expected a whole number of at least 1
    """
    found = {**defaults, **given}
    for name, default in defaults.items():
        if wanted := _lacking(name, found[name], default):
            place = f"{part}.{name}" if part else name
            raise ValueError(f"{place} is {found[name]!r}, expected {wanted}")
    return found


def _lacking(name: str, value: Any, default: Any) -> str:
    """What a value should be; nothing, if it is that."""
    least = 0 if name in _FROM_ZERO else 1
    size = f"a whole number of at least {least}"
    match default:
        case bool():
            fits, wanted = isinstance(value, bool), "true or false"
        case str():
            fits, wanted = isinstance(value, str), "a name"
        case float():
            above = "" if name in _ANY_NUMBER else " above 0"
            fits, wanted = is_number(value) and (not above or value > 0), f"a number{above}"
        case _ if name in _PAIRS:
            two = _are_sizes(value) and len(value) == 2
            fits, wanted = two or is_size(value), f"{size}, or a list of two"
        case tuple():
            fits, wanted = _are_sizes(value) and len(value) > 0, f"a list, each {size}"
        case int() | None:
            none = value is default is None and name in _OR_NONE
            fits, wanted = none or is_size(value, least), size
        case _:
            return ""
    return "" if fits else wanted


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_size(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number, not true or false, and no smaller."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(is_size(each) for each in value)

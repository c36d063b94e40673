"""Results as plain JSON values and back. JSON has no NaN: it is written as null."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin

from gramalign.files import read_json

R = TypeVar("R")


def to_plain(value: Any) -> Any:
    """Turn dataclasses, mappings and sequences of plain values into what `json.dump` accepts.

    Fields whose metadata say `record=False` are left out.

    NaN and infinities, which JSON does not have, become None.

    >>> to_plain({1: (0.5, float("nan"), float("inf"))})
    {'1': [0.5, None, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = [field.name for field in fields(value) if field.metadata.get("record", True)]
        return {name: to_plain(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """The inverse of `to_plain`: a value of the annotated type, with NaN where a float is None.

    Fields with a default may be missing, as from records of earlier versions.

    Raises:
        TypeError: a missing field without a default.

    >>> from_plain(Mapping[int, tuple[float, ...]], {"1": [0.5, None]})
    {1: (0.5, nan)}
    """
    if isinstance(kind, type) and is_dataclass(kind):
        known = [field for field in fields(kind) if field.name in value]
        return kind(**{x.name: from_plain(x.type, value[x.name]) for x in known})
    if get_origin(kind) is Mapping:
        key, item = get_args(kind)
        return {key(name): from_plain(item, each) for name, each in value.items()}
    if get_origin(kind) is tuple:
        return tuple(from_plain(get_args(kind)[0], item) for item in value)
    return math.nan if kind is float and value is None else value


class Record:
    """A dataclass of results."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        return to_plain(self)

    @classmethod
    def from_json(cls: type[R], record: Mapping[str, Any]) -> R:
        """The inverse of `to_json`; what an earlier version did not record takes its default."""
        return from_plain(cls, record)


K = TypeVar("K", bound=Record)


@dataclass(frozen=True)
class Kept(Generic[K]):
    """What a command has left in a file.

    Attributes:
        figures: the record.
        data: the store that it is of.
        part: the part of it.
        content: what else the file holds.
    """

    figures: K
    data: str
    part: str
    content: Mapping[str, Any]


def read_record(path: Path, kind: type[K]) -> Kept[K]:
    """What a command has left in a file.

    Raises:
        ValueError: it is damaged, lacks a field, or is of another kind.
    """
    content = read_json(path)
    try:
        return Kept(kind.from_json(content), content.pop("data"), content.pop("part"), content)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version ({error!r}): measure again, or remove it"
        ) from error

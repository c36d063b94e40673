"""Results as plain JSON values and back. JSON has no NaN: it is written as null."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


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


class Record:
    """A dataclass of results."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        return to_plain(self)


def number(value: float | None) -> float:
    """A number that `to_plain` wrote; null becomes NaN again."""
    return math.nan if value is None else value

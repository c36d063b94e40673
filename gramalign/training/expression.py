"""Objectives as expressions: `"gram + 0.3*clip"` is a weighted sum of named terms.

Terms of your own are named by where they are: `"clip + 0.3*package.module:hinge"`.
"""

import re
from collections.abc import Collection, Mapping

_PLUS = re.compile(r"(?<![0-9.][eE])\+")  # a plus, unless it belongs to an exponent as in 1e+2
_TERM = re.compile(r"\s*(?:(?P<weight>\S+?)\s*\*\s*)?(?P<name>[A-Za-z_][\w.:]*)\s*")


def parse(expression: str, known: Collection[str]) -> dict[str, float]:
    """Parses an objective.

    Args:
        expression: terms joined by `+`, each a name or `weight*name`.
        known: the names of all terms but your own, `package.module:name`.

    Returns:
        The weight of each term, in the order of the expression.

    Raises:
        ValueError: a malformed, unknown or repeated term, or a weight that is not positive.

    >>> parse("gram + 0.3*clip", known=("gram", "pmrl", "clip"))
    {'gram': 1.0, 'clip': 0.3}
    """
    weights: dict[str, float] = {}
    for part in _PLUS.split(expression):
        match = _TERM.fullmatch(part)
        if match is None:
            raise ValueError(
                f"objective {expression!r}: {part.strip()!r} is not a term; expected a name or "
                f"weight*name, joined by +, with names among {', '.join(known)}"
            )
        name = match["name"]
        if name not in known and ":" not in name:
            raise ValueError(
                f"objective {expression!r}: unknown term {name!r}; the terms are "
                f"{', '.join(known)}, or your own as package.module:name"
            )
        if name in weights:
            raise ValueError(
                f"objective {expression!r}: {name!r} appears twice; add up its weights"
            )
        weights[name] = _weight(match["weight"] or "1", expression)
    return weights


def written(weights: Mapping[str, float]) -> str:
    """The canonical spelling of an objective.

    >>> written({"gram": 1.0, "clip": 0.3})
    'gram + 0.3*clip'
    """
    return " + ".join(name if w == 1 else f"{_shortest(w)}*{name}" for name, w in weights.items())


def _shortest(weight: float) -> str:
    """The shortest text that parses to exactly this number."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(float(weight))


def _weight(text: str, expression: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        raise ValueError(f"objective {expression!r}: weight {text!r} is not a number") from None
    if not 0 < weight < float("inf"):
        raise ValueError(f"objective {expression!r}: weight {text} must be positive and finite")
    return weight

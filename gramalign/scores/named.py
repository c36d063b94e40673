"""Scores by name, with non-default settings, as records and tables show them.

volume
kernel_volume(bandwidth=0.3)
"""

import ast
import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from gramalign.scores.protocol import Score
from gramalign.scores.registry import SCORES, anchored

ScoreLike = str | Callable[[str], Score]
"""A name, with any settings in brackets; or what makes a Score from its anchor, as its class
does."""

SCORE_NAMES = tuple(anchored("anchor"))
"""The Scores of one modality against the others; `Between` extends them to any two sets."""

_ROLES = ("anchor", "row", "col")


def score_named(score: ScoreLike, anchor: str, argument: str = "score") -> Score:
    """The Score of an anchor against the tuple of all others.

    Args:
        score: one of `SCORE_NAMES`, with any settings in brackets; or your own class, or another
            function of the anchor.
        anchor: the modality.
        argument: the name of this argument in error messages.

    Raises:
        TypeError: for anything else, such as a Score that already has its anchor.
        ValueError: no such Score, or a setting that it does not have or rejects.

    >>> score_named("kernel_volume(bandwidth=0.3)", "text")
    KernelVolumeScore(anchor='text', bandwidth=0.3)
    """
    if isinstance(score, str):
        return _read_score(score, anchor, argument)
    made = score(anchor) if callable(score) else None
    if not isinstance(made, Score) or isinstance(made, type):
        got = repr(score) if made is None else f"{score!r}, which makes {made!r}"
        raise TypeError(
            f"{argument} must be one of {', '.join(SCORE_NAMES)}, or make a Score from an anchor's "
            f"name, as a Score class does, got {got}"
        )
    try:
        hash((score, made))
    except TypeError:
        raise TypeError(
            f"{argument} must make a hashable Score, such as a frozen dataclass, got {made!r}"
        ) from None
    return made


@cache
def _read_score(text: str, anchor: str, argument: str) -> Score:
    name, settings = _read(text)
    if name not in SCORE_NAMES:
        asked = text.partition("(")[0] in SCORE_NAMES
        cure = '; settings are written as in Python: volume(form="root")' if asked else ""
        raise ValueError(
            f"{argument}: got {text!r}, expected one of {', '.join(SCORE_NAMES)}{cure}"
        )
    score: Any = anchored(anchor)[name]
    known = [field.name for field in dataclasses.fields(score) if field.name not in _ROLES]
    if not set(settings) <= set(known):
        raise ValueError(
            f"{argument}: got {text!r}, but the settings of {name} are {', '.join(known) or 'none'}"
        )
    try:
        return dataclasses.replace(score, **settings)
    except TypeError as error:
        raise ValueError(
            f"{argument}: got {text!r}, a setting of another type ({error})"
        ) from error


def name_of(score: ScoreLike) -> str:
    """A Score's name in records and tables: its registered name, or its class's, and settings.

    Raises:
        ValueError: your own Score has the name of a registered one.

    >>> from gramalign.scores import VolumeScore
    >>> name_of("volume"), name_of(VolumeScore), name_of(lambda a: VolumeScore(a, form="root"))
    ('volume', 'volume', "volume(form='root')")
    """
    if isinstance(score, str):
        return score
    made: Any = score_named(score, "anchor")
    kind = type(made)
    name = {kind: name for name, kind in SCORES.items()}.get(kind, kind.__name__)
    if name in SCORES and kind is not SCORES[name]:
        raise ValueError(
            f"score: {kind!r} has the name of a Score here, one of {', '.join(SCORES)}; rename it"
        )
    fields = dataclasses.fields(made) if dataclasses.is_dataclass(made) else ()
    settings = {field.name: getattr(made, field.name) for field in fields}
    defaults = {field.name: field.default for field in fields}
    return _written(name, {key: x for key, x in settings.items() if key not in _ROLES}, defaults)


def called(name: str, **settings: Any) -> str:
    """The text that `score_named` reads, without settings that equal the defaults.

    >>> called("kernel_volume", bandwidth=0.3), called("kernel_volume", bandwidth=1.0)
    ('kernel_volume(bandwidth=0.3)', 'kernel_volume')
    """
    return _written(name, settings, vars(anchored("anchor")[name]))


def _written(name: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    inside = [f"{key}={value!r}" for key, value in settings.items() if value != defaults[key]]
    return f"{name}({', '.join(inside)})" if inside else name


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its settings; for any other text, the text itself."""
    try:
        found = ast.parse(text, mode="eval").body
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and not found.args:
            return found.func.id, {str(k.arg): ast.literal_eval(k.value) for k in found.keywords}
    except (SyntaxError, ValueError):
        pass
    return text, {}

"""Scores by name, with settings that are not the defaults: what records and tables say.

volume
kernel_volume(bandwidth=0.3)
"""

import ast
import dataclasses
from functools import cache
from typing import Any

from gramalign.scores.protocol import Score
from gramalign.scores.registry import anchored

SCORE_NAMES = tuple(anchored("anchor"))
"""The Scores that hold one modality against others, and so any set of them against any."""

_ROLES = ("anchor", "row", "col")


@cache
def score_named(text: str, anchor: str, argument: str = "score") -> Score:
    """The Score of an anchor against the tuple of all others.

    Args:
        text: one of `SCORE_NAMES`, with settings in brackets if any.
        anchor: the modality.
        argument: what an error calls the text.

    Raises:
        TypeError: for what is no text, such as a Score itself.
        ValueError: no such Score, or a setting that it does not have or refuses.

    >>> score_named("kernel_volume(bandwidth=0.3)", "text")
    KernelVolumeScore(anchor='text', bandwidth=0.3)
    """
    if not isinstance(text, str):
        raise TypeError(
            f"{argument} must be a name, one of {', '.join(SCORE_NAMES)}, got {text!r}: a Score of "
            "your own goes into gramalign.contrast, with its ranks and top_k"
        )
    name, settings = _read(text)
    if name not in SCORE_NAMES:
        raise ValueError(f"{argument}: got {text!r}, wanted one of {', '.join(SCORE_NAMES)}")
    score: Any = anchored(anchor)[name]
    known = [field.name for field in dataclasses.fields(score) if field.name not in _ROLES]
    if not set(settings) <= set(known):
        raise ValueError(
            f"{argument}: got {text!r}, but the settings of {name} are {', '.join(known) or 'none'}"
        )
    return dataclasses.replace(score, **settings)


def called(name: str, **settings: Any) -> str:
    """The text that `score_named` reads, which leaves out settings that are the defaults.

    >>> called("kernel_volume", bandwidth=0.3), called("kernel_volume", bandwidth=1.0)
    ('kernel_volume(bandwidth=0.3)', 'kernel_volume')
    """
    default = anchored("anchor")[name]
    given = {key: value for key, value in settings.items() if getattr(default, key) != value}
    inside = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return f"{name}({inside})" if inside else name


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its settings; of a text that is neither, itself."""
    try:
        found = ast.parse(text, mode="eval").body
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and not found.args:
            return found.func.id, {str(k.arg): ast.literal_eval(k.value) for k in found.keywords}
    except (SyntaxError, ValueError):
        pass
    return text, {}

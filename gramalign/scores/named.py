"""Scores by name, with non-default settings, as records and tables show them.

volume
kernel_volume(bandwidth=0.3)
package.module:Nearness(scale=2.0)
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from gramalign.imported import imported, read_call, written_call
from gramalign.scores.protocol import Score
from gramalign.scores.registry import SCORES, anchored

ScoreLike = str | Callable[[str], Score]
"""A name, or your own class as `package.module:Class`, with any settings in brackets; or what makes
a Score from its anchor, as its class does."""

SCORE_NAMES = tuple(anchored("anchor"))
"""The Scores of one modality against the others; `Between` extends them to any two sets."""

_ROLES = ("anchor", "row", "col")
_PARTS = ("rows", "cols", "tile", "matched")


def score_named(score: ScoreLike, anchor: str, argument: str = "score") -> Score:
    """The Score of an anchor against the tuple of all others.

    Args:
        score: one of `SCORE_NAMES` or `package.module:Class`, with any settings in brackets; or
            your own class, or another function of the anchor.
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
    made = _made(score, anchor, argument) if callable(score) else None
    if not isinstance(made, Score) or isinstance(made, type):
        got = repr(score) if made is None else f"{score!r}, which makes {made!r}"
        raise TypeError(
            f"{argument} must be one of {', '.join(SCORE_NAMES)}, or make a Score from an anchor's "
            f"name, as a Score class does, got {got}"
        )
    _check_hashable((score, made), made, argument)
    return made


@dataclasses.dataclass(frozen=True)
class _Named:
    """The name of your own Score, and the class that it stands for now."""

    text: str
    kind: type

    def __call__(self, anchor: str) -> Score:
        return score_named(self.text, anchor)


def as_key(score: Any, argument: str = "score") -> Any:
    """A Score as compiled programs are told apart by; anything but a name of your own as it is.

    Told apart by its name alone, a class that a notebook defines again would go on being served by
    the programs of the one before.

    Raises:
        ValueError: there is no such Score.
    """
    if not (isinstance(score, str) and ":" in score):
        return score
    return _Named(score, type(score_named(score, "anchor", argument)))


def _made(score: Callable[[str], Any], anchor: str, argument: str) -> Any:
    if isinstance(score, type):
        try:
            inspect.signature(score).bind(anchor)
        except TypeError as error:
            raise TypeError(
                f"{argument} must make a Score from an anchor's name alone, got {score!r} "
                f"({error}): give its other fields defaults"
            ) from None
    return score(anchor)


def _check_hashable(value: Any, made: Any, argument: str) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{argument} must make a hashable Score, such as a frozen dataclass, got {made!r}"
        ) from None


def _read_score(text: str, anchor: str, argument: str) -> Score:
    name, settings = read_call(text)
    if settings is None or (name not in SCORE_NAMES and ":" not in name):
        asked = settings is None and (name in SCORE_NAMES or ":" in name)
        cure = '; settings are written as in Python: volume(form="root")' if asked else ""
        raise ValueError(
            f"{argument}: got {text!r}, expected one of {', '.join(SCORE_NAMES)}, or your own as "
            f"package.module:Class{cure}"
        )
    score: Any = _here(anchor)[name] if name in SCORE_NAMES else _own(name, anchor, argument)
    known = [each for each in _fields(score) if each not in _ROLES]
    if not set(settings) <= set(known):
        raise ValueError(
            f"{argument}: got {text!r}, but the settings of {name} are {', '.join(known) or 'none'}"
        )
    try:
        made = dataclasses.replace(score, **settings) if settings else score
        _check_hashable(made, made, argument)
        return made
    except TypeError as error:
        raise ValueError(
            f"{argument}: got {text!r}, a setting of another type ({error})"
        ) from error


@cache
def _here(anchor: str) -> Mapping[str, Score]:
    return anchored(anchor)


def _own(name: str, anchor: str, argument: str) -> Score:
    kind = imported(name, argument)
    if not (isinstance(kind, type) and all(hasattr(kind, part) for part in _PARTS)):
        raise ValueError(
            f"{argument}: got {name!r}, which is {kind!r}, expected a class of Scores, with "
            f"{', '.join(_PARTS)}"
        )
    try:
        return score_named(kind, anchor, argument)
    except TypeError as error:
        raise ValueError(f"{argument}: got {name!r}, but {error}") from error


def _fields(score: Any) -> dict[str, Any]:
    """The names of a Score's fields, and their defaults."""
    fields = dataclasses.fields(score) if dataclasses.is_dataclass(score) else ()
    return {field.name: field.default for field in fields}


def spelled(text: str) -> str:
    """A text that `score_named` reads, without settings that equal the defaults.

    Raises:
        ValueError: there is no such Score.

    >>> spelled("volume( form='root' )"), spelled("volume(form='volume')")
    ("volume(form='root')", 'volume')
    """
    return _written(read_call(text)[0], score_named(text, "anchor"))


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
    return _written(name, made)


def called(name: str, **settings: Any) -> str:
    """The text that `score_named` reads, without settings that equal the defaults.

    >>> called("kernel_volume", bandwidth=0.3), called("kernel_volume", bandwidth=1.0)
    ('kernel_volume(bandwidth=0.3)', 'kernel_volume')
    """
    score: Any = _here("anchor")[name]
    return _written(name, dataclasses.replace(score, **settings))


def _written(name: str, score: Score) -> str:
    defaults = _fields(score)
    settings = {key: getattr(score, key) for key in defaults if key not in _ROLES}
    return written_call(name, {key: x for key, x in settings.items() if x != defaults[key]})

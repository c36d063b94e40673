"""The Scores that options name, each with any settings: `kernel_volume(bandwidth=0.3)`."""

from collections.abc import Sequence
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from gramalign.evaluation import FUSED, SCORE_NAMES
from gramalign.scores.named import spelled

OWN = "own"
"""In place of a Score: that which each run trains."""

MATCHING = "matching"
"""In place of a Score: the head of the run's term of this name."""

_ANY = "MODULE:CLASS"


def _read(text: str, words: Sequence[str]) -> str:
    """A Score as records write it, or one of the words.

    Raises:
        ValueError: neither.
    """
    if text in words:
        return text
    name = text.partition("(")[0]
    if name not in SCORE_NAMES and ":" not in name:
        raise ValueError(
            f"got {text!r}, expected one of {', '.join((*SCORE_NAMES, *words))}, or your own as "
            "package.module:Class"
        )
    try:
        return spelled(text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("score: ")) from None


def _one(*words: str) -> PrimitiveConstructorSpec[str | None]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(('None', *SCORE_NAMES, *words, _ANY))}}}",
        instance_from_str=lambda given: None if given == ["None"] else _read(given[0], words),
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    )


def _several(*words: str) -> PrimitiveConstructorSpec[tuple[str, ...]]:
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{{{','.join((*SCORE_NAMES, *words, _ANY))}}} [...]]",
        instance_from_str=lambda given: tuple(_read(text, words) for text in given),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=list,
    )


# Not of `str`, with a union or a tuple around it: what is wrong with a Score would not be told.
OneScore = Annotated[str | None, _one()]
OneScoreOrMatching = Annotated[str | None, _one(MATCHING)]
OneScoreOrFused = Annotated[str | None, _one(FUSED)]
Scores = Annotated[tuple[str, ...], _several(OWN, FUSED)]

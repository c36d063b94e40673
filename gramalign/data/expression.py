"""Mixtures as expressions: `"0.7*stores/a.npz + 0.3*digits"` names stores and their weights."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from gramalign.data.own import is_own, spelled
from gramalign.data.store import FeatureStoreError
from gramalign.imported import read_call

_CALL = re.compile(r"([^(:]*\*)?[\w.]+:[\w.]+\s*\(")


def parse(expression: str, embedded: Collection[str] = ()) -> dict[str, float]:
    """Parses a mixture.

    Args:
        expression: names or paths, or `weight*path`, joined by a plus between spaces. Text that
            exists as a path, plus and star included, is that path. A name may be that of a store of
            your own.
        embedded: names of built-in sets, which are not paths.

    Returns:
        The weight of each, in the order of the expression.

    Raises:
        FeatureStoreError: a weight that is not a positive number, or a store that occurs twice.

    >>> parse("0.7*stores/a.npz + digits")
    {'stores/a.npz': 0.7, 'digits': 1.0}
    """
    weights: dict[str, float] = {}
    places: dict[Path | str, str] = {}
    whole = os.path.exists(expression)
    for part in [expression] if whole else map(str.strip, _parts(expression)):
        name, weight = _weighted(part, expression)
        # One path may be spelled in several ways.
        place = spelled(name) if name in embedded or is_own(name) else Path(name).resolve()
        if place in places:
            both = " and ".join(dict.fromkeys([repr(places[place]), repr(name)]))
            raise FeatureStoreError(
                f"data {expression!r}: {both} appears twice; add up its weights"
            )
        places[place] = name
        weights[name] = weight
    return weights


def short_name(name: str) -> str:
    """What to call a store in few letters: the name of its file or function, without the rest.

    >>> short_name("stores/a.npz"), short_name("mine:films(folder='old/films.csv')")
    ('a', 'mine.films')
    """
    return read_call(name)[0].replace(":", ".") if is_own(name) else Path(name).stem


def short_names(names: list[str]) -> list[str]:
    """A unique name for each of several stores.

    Their short names or, if two are equal, the expressions as written, or these numbered.

    >>> short_names(["stores/a.npz", "stores/b"]), short_names(["old/a.npz", "new/a.npz"])
    (['a', 'b'], ['old/a.npz', 'new/a.npz'])
    >>> short_names(["arrays", "arrays"])
    ['arrays:0', 'arrays:1']
    """
    numbered = [f"{name}:{number}" for number, name in enumerate(names)]
    stems = [short_name(name if is_own(name) else str(Path(name).resolve())) for name in names]
    return next(some for some in (stems, names, numbered) if len(set(some)) == len(names))


def _parts(expression: str) -> list[str]:
    """What stands between pluses, but for those in the brackets of a store of your own."""
    parts: list[str] = []
    for piece in expression.split(" + "):
        if parts and _CALL.match(parts[-1].lstrip()) and read_call(parts[-1])[1] is None:
            parts[-1] += f" + {piece}"
        else:
            parts.append(piece)
    return parts


def _weighted(part: str, expression: str) -> tuple[str, float]:
    if os.path.exists(part) or is_own(part):
        return part, 1.0
    weight, star, name = part.partition("*")
    if not star:
        weight, name = "1", part
    if not name.strip():
        raise FeatureStoreError(
            f"data {expression!r}: {part!r} does not name a store; expected a name, a path or "
            "weight*path, joined by ' + '"
        )
    try:
        number = float(weight)
    except ValueError:
        raise FeatureStoreError(
            f"data {expression!r}: weight {weight.strip()!r} is not a number; expected "
            "weight*path, such as 0.3*stores/mine"
        ) from None
    if not 0 < number < float("inf"):
        raise FeatureStoreError(
            f"data {expression!r}: weight {weight.strip()} must be positive and finite"
        )
    return name.strip(), number

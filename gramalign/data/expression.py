"""Mixtures as expressions: `"0.7*stores/a.npz + 0.3*digits"` names stores and their weights."""

import os
from collections.abc import Collection
from pathlib import Path

from gramalign.data.store import FeatureStoreError


def parse(expression: str, embedded: Collection[str] = ()) -> dict[str, float]:
    """Parses a mixture.

    Args:
        expression: names or paths, or `weight*path`, joined by a plus between spaces. Text that
            exists as a path, plus and star included, is that path.
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
    for part in [expression] if whole else map(str.strip, expression.split(" + ")):
        name, weight = _weighted(part, expression)
        # One path may be spelled in several ways.
        place = name if name in embedded else Path(name).resolve()
        if place in places:
            both = " and ".join(dict.fromkeys([repr(places[place]), repr(name)]))
            raise FeatureStoreError(
                f"data {expression!r}: {both} appears twice; add up its weights"
            )
        places[place] = name
        weights[name] = weight
    return weights


def short_names(names: list[str]) -> list[str]:
    """A unique name for each of several stores.

    The names of their files or, if two are equal, the expressions as written, or these numbered.

    >>> short_names(["stores/a.npz", "stores/b"]), short_names(["old/a.npz", "new/a.npz"])
    (['a', 'b'], ['old/a.npz', 'new/a.npz'])
    >>> short_names(["arrays", "arrays"])
    ['arrays:0', 'arrays:1']
    """
    numbered = [f"{name}:{number}" for number, name in enumerate(names)]
    stems = [Path(name).resolve().stem for name in names]
    return next(some for some in (stems, names, numbered) if len(set(some)) == len(names))


def _weighted(part: str, expression: str) -> tuple[str, float]:
    if os.path.exists(part):
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

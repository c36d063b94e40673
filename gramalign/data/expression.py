"""Mixtures as expressions: `"0.7*stores/a.npz + 0.3*digits"` names stores and their weights."""

from pathlib import Path

from gramalign.data.store import FeatureStoreError


def parse(expression: str) -> dict[str, float]:
    """Reads what to mix.

    Args:
        expression: names or paths, or `weight*path`, joined by a plus between spaces. One that is
            there under the very name, plus and star included, is a path.

    Returns:
        The weight of each, in the order of the expression.

    Raises:
        FeatureStoreError: a weight that is no positive number, or a store that comes twice.

    >>> parse("0.7*stores/a.npz + digits")
    {'stores/a.npz': 0.7, 'digits': 1.0}
    """
    weights: dict[str, float] = {}
    places: dict[Path, str] = {}
    for part in [expression] if Path(expression).exists() else expression.split(" + "):
        name, weight = _weighted(part.strip(), expression)
        place = Path(name).resolve()  # one store may be spelled in several ways
        if place in places:
            both = " and ".join(dict.fromkeys([repr(places[place]), repr(name)]))
            raise FeatureStoreError(f"data {expression!r}: {both} comes twice; add up its weights")
        places[place] = name
        weights[name] = weight
    return weights


def short_names(names: list[str]) -> list[str]:
    """What to call each of several stores: as their files are called, or else as they are written.

    >>> short_names(["stores/a.npz", "stores/b"]), short_names(["old/a.npz", "new/a.npz"])
    (['a', 'b'], ['old/a.npz', 'new/a.npz'])
    """
    short = [Path(name).resolve().stem for name in names]
    return short if len(set(short)) == len(short) else names


def _weighted(part: str, expression: str) -> tuple[str, float]:
    if Path(part).exists() and part:
        return part, 1.0
    weight, star, name = part.partition("*")
    if not star:
        weight, name = "1", part
    if not name.strip():
        raise FeatureStoreError(
            f"data {expression!r}: {part!r} names no store; wanted a name or path, or "
            "weight*path, joined by ' + '"
        )
    try:
        number = float(weight)
    except ValueError:
        raise FeatureStoreError(
            f"data {expression!r}: weight {weight.strip()!r} is not a number; wanted weight*path, "
            "such as 0.3*stores/mine"
        ) from None
    if not 0 < number < float("inf"):
        raise FeatureStoreError(
            f"data {expression!r}: weight {weight.strip()} must be positive and finite"
        )
    return name.strip(), number

"""Per-query values reduced to one number for each unit of resampling.

A figure such as the mean R@1 over all pairs averages over tasks, and an example is a query in
several of them: its values belong together. So do those of a group. Here each unit is reduced to
one number such that the figure is the plain mean over units; later code need know nothing of tasks,
groups or missing modalities.
"""

import numpy as np
from jaxtyping import Float, Shaped

from gramalign.evaluation.numbering import numbered


def unit_values(
    values: Float[np.ndarray, "*seeds tasks examples"],
    groups: Shaped[np.ndarray, " examples"] | None = None,
) -> Float[np.ndarray, "*seeds units"]:
    """One number per unit, whose mean is the figure: the mean over tasks of the mean over queries.

    A unit is an example that is a query in any task, or a group of such examples. Where every unit
    is a query equally often in every task, its number is the mean of its values. Otherwise it is
    the figure plus the number of units times the unit's first-order effect on it (its influence):
    a task's number of queries varies between resamples, and a unit with more queries weighs more.

    Args:
        values: of each example as a query of each task, NaN where it is not one; tasks without a
            query are left out.
        groups: examples with one label are one unit.

    Returns:
        Per seed, one number per unit.

    Raises:
        ValueError: no query at all, queries that differ between seeds, an infinite value, no axis
            of tasks, or groups as in `numbered`.

    >>> unit_values(np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]))
    array([0.5, 0. , 1. , 1. ])
    """
    values = np.asarray(values, np.float64)
    sums, counts = _by_unit(values, groups)
    number = counts.sum(1, keepdims=True)
    means = sums.sum(2, keepdims=True) / number
    influence = np.mean((sums - means * counts) / number, axis=1) * counts.shape[1]
    return (means.mean((1, 2))[:, None] + influence).reshape(*values.shape[:-2], -1)


def unit_shares(
    values: Float[np.ndarray, "*seeds tasks examples"],
    groups: Shaped[np.ndarray, " examples"] | None = None,
) -> Float[np.ndarray, "*seeds units"]:
    """One number per unit, whose mean is the figure: its part of the sum, for differences.

    Equal to `unit_values` where every unit is a query equally often in every task. In any case, a
    unit that two methods answer alike has a difference of exactly 0, and swapping the two on a unit
    flips the sign of its difference, however large the unit. Permutation tests need that.

    Args:
        values: as in `unit_values`.
        groups: as in `unit_values`.

    Returns:
        Per seed, one number per unit. That of a difference is the difference of the two numbers.

    Raises:
        ValueError: as `unit_values`.

    >>> unit_shares(np.array([[1.0, 0.0, 1.0, 1.0], [0.0, np.nan, np.nan, 1.0]]))
    array([0.5, 0. , 0.5, 1.5])
    """
    values = np.asarray(values, np.float64)
    sums, counts = _by_unit(values, groups)
    shares = np.mean(sums / counts.sum(1, keepdims=True), axis=1) * counts.shape[1]
    return shares.reshape(*values.shape[:-2], -1)


def _by_unit(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums [seeds, tasks, units] of values, counts [tasks, units] of queries; none without any."""
    if values.ndim < 2:
        raise ValueError(
            f"values: got shape {values.shape}, expected [tasks, examples]; for one task give "
            "values[None]"
        )
    *_, tasks, examples = values.shape
    if np.isinf(values).any():
        raise ValueError(
            "values: got an infinite one, expected finite numbers, or NaN where an example is not "
            "a query"
        )
    if np.isnan(values).all():  # or empty
        raise ValueError(f"values: got no query in shape {values.shape}, expected at least one")
    flat = values.reshape(-1, tasks, examples)
    asked = ~np.isnan(flat)
    if (asked != asked[0]).any():
        raise ValueError(
            "values: got NaN in different places under different seeds, expected the same queries "
            "under all; evaluate all on the same rows"
        )
    asked = asked[0]
    sums, counts = np.where(asked, flat, 0.0)[:, asked.any(1)], asked[asked.any(1)]
    if groups is not None:
        member = numbered(groups, examples, "groups")
        sums, counts = _summed(sums, member), _summed(counts, member)
    kept = counts.any(0)
    return sums[:, :, kept], counts[:, kept].astype(np.float64)


def _summed(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Sums over the members of each group, on the last axis."""
    order = np.argsort(member, kind="stable")
    starts = np.flatnonzero(np.diff(member[order], prepend=-1))
    return np.add.reduceat(values[..., order].astype(np.float64), starts, axis=-1)

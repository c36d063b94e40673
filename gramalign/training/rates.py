"""Learning rates of their own, for parameters whose names a rule matches."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import optax

from gramalign.training.params_file import named

Rates = tuple[tuple[str, float], ...]
"""Regular expressions of parameters' names, and factors of their learning rate."""


def factor_of(name: str, rates: Rates) -> float:
    """The factor of the first rule that a parameter's name matches; 1 if none does."""
    return next((factor for rule, factor in rates if re.search(rule, name)), 1.0)


def check_rules(names: Sequence[str], rates: Rates) -> None:
    """Raises `ValueError` for a rule that no parameter's name is the first to match."""
    used = {next((r for r, _ in rates if re.search(r, name)), None) for name in names}
    for rule, _ in rates:
        if rule not in used:
            any_ = any(re.search(rule, name) for name in names)
            why = "whose parameters all match rules before it" if any_ else "of no parameter"
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            there = ", ".join(names[:6]) or "none"
            raise ValueError(f"Optimizer.rates has {rule!r}, {why}; there are {there}{more}")


def rated(rates: Rates) -> optax.GradientTransformation:
    """Multiplies updates: where they are proportional to the learning rate, some have others."""

    def update(updates, state, params=None):
        def scaled(name: str, leaf: Any) -> Any:
            factor = factor_of(name, rates)
            return leaf if factor == 1 else leaf * factor

        leaves = [scaled(name, leaf) for name, leaf in named(updates)]
        return jax.tree.unflatten(jax.tree.structure(updates), leaves), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

"""Floating-point operations of a function, counted from what it traces to."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def matmul_flops(function: Callable, *args: Any, **kwargs: Any) -> int:
    """Floating-point operations of all matrix products that a call of a function runs.

    A multiplication and an addition count as two. Loops count as often as they run, where the
    compiler's own analysis takes a loop's body once. Inside `jax.shard_map` the devices' parts are
    added up. What nothing uses is left out, as compilers do. Nothing is compiled or run.

    Args:
        function: what is called.
        *args: arrays, or `jax.ShapeDtypeStruct` in their place.
        **kwargs: the same, by name.

    Raises:
        ValueError: for a `while` loop around matrix products, whose length nobody knows.

    >>> import jax.numpy as jnp
    >>> matmul_flops(jnp.matmul, jnp.ones((2, 3)), jnp.ones((3, 5)))
    60
    """
    return _count(jax.make_jaxpr(function)(*args, **kwargs).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
    used, total = set(map(id, jaxpr.outvars)), 0
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(id(out) in used for out in equation.outvars):
            used |= set(map(id, equation.invars))
            total += _of_equation(equation)
    return total


def _of_equation(equation: JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        first: Any = equation.invars[0].aval
        out: Any = equation.outvars[0].aval
        return 2 * prod(out.shape) * prod(first.shape[axis] for axis in contracted)

    inside = [_count(jaxpr) for jaxpr in _jaxprs(params)]
    if name == "cond":
        return max(inside)
    once = sum(inside)
    if name == "while" and once:
        raise ValueError("a while loop holds matrix products, and how often it runs is not known")
    if name == "scan":
        return once * params["length"]
    if name == "shard_map":
        return once * prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    if name == "pallas_call":
        return once * prod(params["grid_mapping"].grid)
    return once


def _jaxprs(params: dict[str, Any]) -> list[Jaxpr]:
    values = [x for v in params.values() for x in (v if isinstance(v, (tuple, list)) else [v])]
    return [
        x.jaxpr if isinstance(x, ClosedJaxpr) else x
        for x in values
        if isinstance(x, (ClosedJaxpr, Jaxpr))
    ]

"""Floating-point operations of a function, counted in its jaxpr."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# A TPU multiplies bfloat16 numbers. A float32 product is composed of that many products of bfloat16
# parts, depending on the precision; anything narrower takes one.
FLOAT32_PASSES = {
    "DEFAULT": 1.0,
    "HIGH": 3.0,
    "HIGHEST": 6.0,
    "BF16_BF16_F32_X3": 3.0,
    "BF16_BF16_F32_X6": 6.0,
    "BF16_BF16_F32_X9": 9.0,
}


def matmul_flops(function: Callable, *args: Any, **kwargs: Any) -> int:
    """Floating-point operations of all matrix products in a call of a function.

    Convolutions are such products, counted without those of padding and of the zeros that a
    transposed one inserts. A multiplication and an addition count as two. A loop's body counts as
    often as it runs, whereas the compiler's own analysis counts it once. Inside `jax.shard_map` the
    devices' parts are added up. Unused results are left out, as compilers do. Nothing is compiled
    or run.

    Args:
        function: the function to call.
        *args: arrays, or `jax.ShapeDtypeStruct` in their place.
        **kwargs: the same, by name.

    Raises:
        ValueError: for a `while` loop around matrix products, whose length is unknown.

    >>> import jax.numpy as jnp
    >>> matmul_flops(jnp.matmul, jnp.ones((2, 3)), jnp.ones((3, 5)))
    60
    """
    return traced_flops(jax.make_jaxpr(function)(*args, **kwargs))


def traced_flops(traced: ClosedJaxpr, passes: Mapping[str, float] | None = None) -> int:
    """The same for an already traced function.

    Args:
        traced: from `jax.make_jaxpr`, or `jax.jit(function).trace(...).jaxpr`.
        passes: count bfloat16 operations instead: how many a float32 one consists of, or takes as
            long as, by precision (`FLOAT32_PASSES` on a TPU).

    Raises:
        ValueError: for a `while` loop around matrix products, whose length is unknown.
    """
    return round(_count(traced.jaxpr, passes))


def _count(jaxpr: Jaxpr, passes: Mapping[str, float] | None) -> float:
    used, total = set(map(id, jaxpr.outvars)), 0.0
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(id(out) in used for out in equation.outvars):
            used |= set(map(id, equation.invars))
            total += _of_equation(equation, passes)
    return total


def _of_equation(equation: JaxprEqn, passes: Mapping[str, float] | None) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        first: Any = equation.invars[0].aval
        out: Any = equation.outvars[0].aval
        flops = 2 * prod(out.shape) * prod(first.shape[axis] for axis in contracted)
        return flops * (1.0 if passes is None else _passes(equation, passes))
    if name == "conv_general_dilated":
        return _of_convolution(equation) * (1.0 if passes is None else _passes(equation, passes))

    inside = [_count(jaxpr, passes) for jaxpr in jaxprs_in(params)]
    if name == "cond":
        return max(inside)
    once = sum(inside, 0.0)
    if name == "while" and once:
        raise ValueError("a while loop holds matrix products, but how often it runs is unknown")
    if name == "scan":
        return once * params["length"]
    if name == "shard_map":
        return once * prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    if name == "pallas_call":
        return once * prod(params["grid_mapping"].grid)
    return once


def _of_convolution(equation: JaxprEqn) -> int:
    params = equation.params
    data, kernel, result = params["dimension_numbers"]
    avals: list[Any] = [side.aval for side in (*equation.invars, *equation.outvars)]
    inputs, taps, out = (aval.shape for aval in avals)
    # A kernel has the channels of one group, be it of features or of the batch.
    flops = 2 * out[result[0]] * out[result[1]] * taps[kernel[1]]
    for i, (low, _) in enumerate(params["padding"]):
        starts = np.arange(out[result[2 + i]]) * params["window_strides"][i] - low
        reached = starts[:, None] + np.arange(taps[kernel[2 + i]]) * params["rhs_dilation"][i]
        spread = params["lhs_dilation"][i]
        within = (0 <= reached) & (reached < inputs[data[2 + i]] * spread)
        flops *= int(np.count_nonzero(within & (reached % spread == 0)))
    return flops


def _passes(equation: JaxprEqn, passes: Mapping[str, float]) -> float:
    operands: list[Any] = [operand.aval for operand in equation.invars]
    if all(operand.dtype != jnp.float32 for operand in operands):
        return 1.0
    precision = equation.params["precision"]
    sides = precision if isinstance(precision, tuple) else (precision,)
    return max(passes.get(getattr(side, "name", "DEFAULT"), 1.0) for side in sides)


def jaxprs_in(params: dict[str, Any]) -> list[Jaxpr]:
    """Those of the functions that an equation with these parameters calls."""
    values = [x for v in params.values() for x in (v if isinstance(v, (tuple, list)) else [v])]
    return [
        x.jaxpr if isinstance(x, ClosedJaxpr) else x
        for x in values
        if isinstance(x, (ClosedJaxpr, Jaxpr))
    ]

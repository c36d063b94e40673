"""Sizes of the arrays that a traced function makes on its way."""

from typing import Any

from jax.extend.core import Jaxpr

from gramalign.programs.flops import jaxprs_in

_PRIME = 1009
TRACED_ROWS = 16 * _PRIME
"""A number of rows to trace a function for: a multiple of a prime that divides no other size."""


def bytes_per_row(jaxpr: Jaxpr) -> int:
    """Of the largest array that grows with the number of rows, what each row takes.

    Args:
        jaxpr: of a function that was traced for `TRACED_ROWS` rows.

    >>> import jax, jax.numpy as jnp
    >>> rows, weights = jnp.ones((TRACED_ROWS, 3)), jnp.ones((3, 5))
    >>> bytes_per_row(jax.make_jaxpr(lambda x, w: jnp.sin(x @ w).sum(1))(rows, weights).jaxpr)
    20
    """
    found = 0
    for equation in jaxpr.eqns:
        for out in equation.outvars:
            array: Any = out.aval
            if any(size and size % _PRIME == 0 for size in getattr(array, "shape", ())):
                found = max(found, array.size * array.dtype.itemsize // TRACED_ROWS)
        found = max([found, *map(bytes_per_row, jaxprs_in(equation.params))])
    return found

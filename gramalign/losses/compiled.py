"""Losses as programs: fast also where they are called outside of `jax.jit`, as in a notebook.

Operation by operation, a loss of all pairs takes seconds on a CPU, most of which go into tracing
its loops anew at every call.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

from gramalign.scores.sides import check_embeddings, check_unit

Loss = TypeVar("Loss", bound=Callable[..., Any])

CONSTANTS = ("anchor", "label_smoothing", "axis_name", "engine")
"""The settings of most losses that are no numbers of the program, but shape it."""


def compiled(*constants: str, unit: bool = False) -> Callable[[Loss], Loss]:
    """Decorates a loss: it is compiled, once for every shape and constant, and called as before.

    Args:
        constants: the settings that shape the program beside `CONSTANTS`: whatever is checked, or
            decides between two formulas. All others may be traced.
        unit: whether rows must have length 1, unless the loss is of a Score other than the cosine.
            Only numbers can be asked that, so they are before they are traced.
    """

    def decorate(loss: Loss) -> Loss:
        static = [x for x in inspect.signature(loss).parameters if x in (*CONSTANTS, *constants)]
        program = jax.jit(loss, static_argnames=static)

        @wraps(loss)
        def checked(embeddings, **settings):
            check_embeddings(embeddings, settings.get("present"))
            if unit and settings.get("score_of") is None:
                check_unit(embeddings, settings.get("present"))
            return program(embeddings, **settings)

        return checked  # pyright: ignore[reportReturnType]

    return decorate

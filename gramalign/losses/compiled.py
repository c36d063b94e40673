"""Losses as programs: fast also where they are called outside of `jax.jit`, as in a notebook.

Operation by operation, a loss of all pairs takes seconds on a CPU, most of which go into tracing
its loops anew at every call.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import jax

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.scores.sides import check_embeddings, check_unit
from gramalign.types import Embeddings, Present

Loss = TypeVar("Loss", bound=Callable[..., Any])

CONSTANTS = ("anchor", "label_smoothing", "axis_name", "engine")
"""The settings of most losses that are no numbers of the program, but shape it."""


Rows = Callable[[Embeddings, Mapping[str, Any]], tuple[Embeddings, Present | None]]
"""Those of the embeddings that a loss with these settings compares, and where they are there."""


def compiled(
    *constants: str, unit: bool | Rows = False, pairs: bool = True
) -> Callable[[Loss], Loss]:
    """Decorates a loss: it is compiled, once for every shape and constant, and called as before.

    For `over_mesh` the loss also has `check(embeddings, settings)`, of numbers that are not traced
    yet, and `constants`, the names of the settings that are not to be.

    Args:
        constants: the settings that shape the program beside `CONSTANTS`: whatever is checked, or
            decides between two formulas. All others may be traced.
        unit: whether rows must have length 1, unless the loss is of a Score other than the cosine,
            or which rows must. Only numbers can be asked that, so they are before they are traced.
        pairs: whether examples meet each other in it, which JAX does not let them where they are
            split over an axis that it has in their type.
    """

    def decorate(loss: Loss) -> Loss:
        parameters = inspect.signature(loss).parameters
        static = [x for x in parameters if x in (*CONSTANTS, *constants)]
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        program = jax.jit(loss, static_argnames=static)

        def check(embeddings, settings):
            settings = defaults | settings
            check_embeddings(embeddings, settings["present"])
            engine = settings.get("engine", DEFAULT_ENGINE)
            if not isinstance(engine, Engine):
                raise TypeError(f'engine must be an Engine, such as Engine("ring"), got {engine!r}')
            if unit and settings.get("score_of") is None:
                compared = unit if callable(unit) else _all
                check_unit(*compared(embeddings, settings))

        @wraps(loss)
        def checked(embeddings, **settings):
            check(embeddings, settings)
            if pairs:
                _check_whole(embeddings)
            return program(embeddings, **settings)

        checked.check = check  # pyright: ignore[reportAttributeAccessIssue]
        checked.constants = frozenset(static)  # pyright: ignore[reportAttributeAccessIssue]
        return checked  # pyright: ignore[reportReturnType]

    return decorate


def _all(embeddings: Embeddings, settings: Mapping[str, Any]) -> tuple[Embeddings, Present | None]:
    return embeddings, settings["present"]


def _check_whole(embeddings: Embeddings) -> None:
    """Raise `ValueError` for an array that is split over a mesh axis which JAX has in its type."""
    for name, x in embeddings.items():
        spec = jax.typeof(x).sharding.spec
        if any(spec):
            raise ValueError(
                f"embeddings[{name!r}] are split over explicit axes of a mesh, {spec}: wrap the "
                "loss, losses.over_mesh(loss, mesh)"
            )

"""Compiled losses: fast even when called outside `jax.jit`, as in a notebook.

Run operation by operation, a loss over all pairs takes seconds on a CPU, most of them spent
retracing its loops at every call.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.contrast.blocks import check_groups
from gramalign.mesh import AxisName, check_axis, names_of, split_over
from gramalign.scores import AggregateScore, CosineScore, score_named
from gramalign.scores.named import as_key
from gramalign.scores.products import in_bfloat16
from gramalign.scores.sides import check_embeddings, check_unit
from gramalign.types import Embeddings

Loss = TypeVar("Loss", bound=Callable[..., Any])

CONSTANTS = ("anchor", "label_smoothing", "axis_name", "engine")
"""Settings of most losses that are static: they shape the compiled program."""

ARRAYS = ("present", "groups", "key", "head")
TEMPERATURES = ("temperature", "tau_alignment", "tau_instance")
SHARES = ("mix", "fused_weight")
WEIGHTS = ("cross_modal", "in_modal", "invariance", "variance", "covariance")
"""Of numeric settings, `TEMPERATURES` are above 0, `SHARES` from 0 to 1, `WEIGHTS` at least 0."""
NUMBERS = (
    *("label_smoothing", "t", "power", "bandwidth", "weight_temperature"),
    *("cross_modal", "in_modal", "deviation"),
)
"""Numeric settings that are static; others may be traced."""

Check = Callable[[Embeddings, Mapping[str, Any]], None]
"""Raises an error for invalid embeddings or settings of a loss."""


def compiled(
    *constants: str, check: Check | None = None, pairs: bool = True
) -> Callable[[Loss], Loss]:
    """Decorate a loss to be compiled, once per shape and constants, and called as before.

    For `over_mesh` the loss also has `check(embeddings, settings)`, called before anything is
    traced, and `constants`, the names of its static settings.

    Args:
        constants: static settings besides `CONSTANTS`: those that are checked, or choose between
            formulas. All others may be traced.
        check: of concrete values, before they are traced; such as `check_unit_rows`.
        pairs: whether it compares examples with each other, or computes in loops, which JAX does
            not allow where the batch is split over an explicit mesh axis.
    """

    def decorate(loss: Loss) -> Loss:
        parameters = inspect.signature(loss).parameters
        static = [x for x in parameters if x in (*CONSTANTS, *constants)]
        defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
        program = jax.jit(loss, static_argnames=static)

        def check_all(embeddings, settings):
            unknown = sorted(settings.keys() - parameters.keys())
            if unknown:
                raise TypeError(
                    f"{loss.__name__} has no arguments {unknown}; it has {list(parameters)[1:]}"
                )
            settings = defaults | settings
            check_embeddings(embeddings, settings["present"])
            engine = settings.get("engine", DEFAULT_ENGINE)
            if not isinstance(engine, Engine):
                raise TypeError(f'engine must be an Engine, such as Engine("ring"), got {engine!r}')
            for name in static:
                _check_constant(name, settings[name], defaults.get(name))
            for name in settings:
                if settings[name] is None and defaults.get(name, 0) is None:
                    continue
                if name in NUMBERS or name not in (*static, *ARRAYS):
                    _check_number(name, settings[name])
            if settings.get("groups") is not None:
                check_groups(settings["groups"], len(next(iter(embeddings.values()))))
            if check is not None:
                check(embeddings, settings)

        @wraps(loss)
        def checked(embeddings, **settings):
            check_all(embeddings, settings)
            if pairs:
                _check_whole(embeddings)
            if "axis_name" in parameters:
                axis_name = settings.get("axis_name")
                if axis_name is not None and settings.get("groups") is not None:
                    check_axis(axis_name, settings["groups"], "the groups are")
                _warn_of_parts(loss.__name__, embeddings, axis_name)
            dtypes = np.dtype(np.float32), *(x.dtype for x in embeddings.values())
            widest = jax.dtypes.canonicalize_dtype(max(dtypes, key=lambda dtype: dtype.itemsize))
            wide = {n: x if n in static else _as_dtype(x, widest) for n, x in settings.items()}
            # A plain function is part of the program, a module's parameters are not.
            if "head" in wide and jax.tree_util.all_leaves([wide["head"]]):
                wide["head"] = jax.tree_util.Partial(wide["head"])
            if "score_of" in wide:
                wide["score_of"] = as_key(wide["score_of"], "score_of")
            # JAX takes dicts, which it sorts, and few other mappings; an OrderedDict keeps an order
            # of its own, which the shifts of a loss would follow.
            embeddings = dict(embeddings)
            if wide.get("present") is not None:
                wide["present"] = dict(wide["present"])
            # A Score's matched pairs may depend on the precision of tiles: the floor that a
            # logarithm adds to a volume does.
            engine = settings.get("engine", DEFAULT_ENGINE)
            if engine.precision is None:
                return program(embeddings, **wide)
            if "head" in wide:  # which multiplies as it would elsewhere
                precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
                wide["head"] = jax.tree_util.Partial(_Under(precision), wide["head"])
            with in_bfloat16():
                return program(embeddings, **wide)

        checked.check = check_all  # pyright: ignore[reportAttributeAccessIssue]
        checked.constants = frozenset(static)  # pyright: ignore[reportAttributeAccessIssue]
        return checked  # pyright: ignore[reportReturnType]

    return decorate


@dataclass(frozen=True)
class _Under:
    """Calls a function under a precision of matrix products that is not the program's."""

    precision: str | None

    def __call__(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        with jax.default_matmul_precision(self.precision):
            return function(*arguments, **settings)


def check_key(key: Any) -> None:
    """Raise `TypeError` for anything but a JAX key or None."""
    if key is None:
        return
    if isinstance(key, (jax.Array, np.ndarray)):
        # A key that was made by jax.random.PRNGKey is an array of numbers.
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if key.ndim == (0 if typed else 1) and (typed or key.dtype == np.uint32):
            return
        key = f"{key.dtype} of shape {key.shape}"
    raise TypeError(f"key must be one JAX key, such as jax.random.key(0), got {key}")


def check_head(head: Any, example: str) -> None:
    """Raise `TypeError` for what cannot be called."""
    if not callable(head):
        raise TypeError(
            f"head must be a function of embeddings and present, such as a gramalign.models."
            f"{example}, got {head!r}"
        )


def check_unit_rows(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` for rows that are not of length 1, in losses that take cosines.

    With a `score_of` of another kind, a loss requires nothing of the rows.
    """
    score = settings.get("score_of")
    if score is not None:
        score = score_named(score, next(iter(embeddings)), "score_of")
    if score is None or isinstance(score, (CosineScore, AggregateScore)):
        check_unit(embeddings, settings["present"])


def _check_number(name: str, value: Any) -> None:
    """Raise `TypeError` unless a number, `ValueError` for an array or, if concrete, a bad value."""
    truth = isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
    if truth or not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if np.shape(value) != ():
        raise ValueError(f"{name} must be one number, got an array of shape {np.shape(value)}")
    if isinstance(value, Tracer):
        return
    number = np.asarray(value)
    # A derivative divides by its square, in float32.
    least, most = 1e-18, float(np.finfo(np.float32).max)
    if name in TEMPERATURES and not least <= float(number) <= most:
        raise ValueError(f"{name} must be positive and from {least} to {most:.1e}, got {number}")
    if not math.isfinite(float(number)):
        raise ValueError(f"{name} must be finite, got {number}")
    if name in SHARES and not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {number}")
    if name in WEIGHTS and number < 0:
        raise ValueError(f"{name} must be at least 0, got {number}")


def _as_dtype(value: Any, dtype: np.dtype) -> Any:
    """A number in the dtype of the data: in 16 bits, a temperature's inverse may overflow."""
    array = isinstance(value, (np.generic, np.ndarray, jax.Array)) and np.ndim(value) == 0
    floating = array and jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.asarray(value).astype(dtype) if floating else value


def _check_constant(name: str, value: Any, default: Any) -> None:
    """Raise `TypeError` for an array as a static setting, or for text as a switch."""
    try:
        hash(value)
    except TypeError:
        cure = f", such as {name}={name}.item()" if hasattr(value, "item") else ""
        raise TypeError(
            f"{name} is part of the compiled program, so it must be hashable, and not an array or "
            f"traced, got {value!r}: give a plain Python value{cure}"
        ) from None
    if isinstance(default, bool) and not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _warn_of_parts(name: str, embeddings: Embeddings, axis_name: AxisName | None) -> None:
    """Warn inside `jax.shard_map` if a device's shard is taken for the whole batch."""
    axes = set().union(*(jax.typeof(x).mat.varying for x in embeddings.values()))
    named = set() if axis_name is None else set(names_of(axis_name))
    if axes - named:
        axes = tuple(sorted(axes))
        given = axes[0] if len(axes) == 1 else axes
        warnings.warn(
            f"{name} sees only this device's shard of a batch that is split over "
            f"{', '.join(axes)}: give axis_name={given!r} for negatives from the whole batch",
            stacklevel=3,
        )


def _check_whole(embeddings: Embeddings) -> None:
    """Raise `ValueError` for an array that is split over an explicit mesh axis."""
    for name, x in embeddings.items():
        spec = split_over(x)
        if spec is not None:
            raise ValueError(
                f"embeddings[{name!r}] is split over explicit axes of a mesh, {spec}: wrap the "
                "loss, losses.over_mesh(loss, mesh)"
            )

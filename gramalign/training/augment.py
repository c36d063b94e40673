"""Augmentation by a user's function that changes each example: noise, hidden modalities, ...

It is JAX, and part of the compiled step: its randomness follows from the step and the example's
place in the batch, so a run resumes to the same bits, and any number of devices computes the same.
"""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from gramalign.imported import imported, placed

Features = Mapping[str, Float[Array, " _"]]
There = Mapping[str, Bool[Array, ""]]
Augment = Callable[[PRNGKeyArray, Features, There], tuple[Features, There]]
"""`augment(key, features, present) -> features, present` of one example: by modality its features,
zeros where it has none, and whether it has it."""

_FILE = "<augment>"  # what a file is called while it runs


def load_augment(name: str) -> Augment:
    """Loads a function by its name.

    Args:
        name: `path/to/file.py:function` or `package.module:function`.

    Raises:
        ValueError: there is no function of this name. What a file or module itself raises is not
            caught.
    """
    where, colon, function = name.partition(":")
    if not (where and colon and function):
        raise ValueError(
            f"augment is {name!r}, expected path/to/file.py:function or package.module:function"
        )
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise ValueError(f"augment is {name!r}, but there is no file {where}")
        with placed(_FILE, f"in augment {name}"):
            made = runpy.run_path(where, run_name=_FILE)
        if function not in made:
            raise ValueError(f"augment is {name!r}, but {where} has no {function!r}")
        found = made[function]
    else:
        found = imported(name, "augment")
    if not callable(found):
        raise ValueError(
            f"augment is {name!r}, of type {type(found).__name__}, expected a function"
        )
    return found  # pyright: ignore[reportReturnType]


def check_augment(augment: Augment, dims: Mapping[str, int]) -> None:
    """Raises a ValueError unless a function keeps the structure, shapes and dtypes of its inputs.

    Args:
        augment: the function.
        dims: width of each modality's features.
    """
    features = {m: jax.ShapeDtypeStruct((width,), jnp.float32) for m, width in dims.items()}
    present = {m: jax.ShapeDtypeStruct((), jnp.bool) for m in dims}
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        found = jax.eval_shape(augment, key, features, present)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"augment failed, {type(error).__name__}: {reason}. It is called with (key, features, "
            "present) of one example, and must compute with jax.numpy"
        ) from error
    wanted = (features, present)
    if jax.tree.structure(found) != jax.tree.structure(wanted) or any(
        (a.shape, a.dtype) != (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    ):
        got, given = (jax.tree.map(lambda x: f"{x.dtype}{[*x.shape]}", x) for x in (found, wanted))
        raise ValueError(f"augment returns {got}, expected (features, present) as given: {given}")


def augmented(
    augment: Augment,
    key: PRNGKeyArray,
    features: Mapping[str, Float[Array, "batch _"]],
    present: Mapping[str, Bool[Array, " batch"]],
) -> tuple[Mapping[str, Float[Array, "batch _"]], Mapping[str, Bool[Array, " batch"]]]:
    """A batch after augmentation, each example with its own random key."""
    rows = jnp.arange(next(iter(present.values())).shape[0])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
    return jax.vmap(augment)(keys, features, present)

"""Optimisers by name: optax's, or your own, with settings."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gramalign.imported import imported, read_call


@dataclass(frozen=True)
class OptimizerNamed:
    """What makes an optimiser.

    Attributes:
        make: a function of a `learning_rate`, which may be a schedule.
        settings: further arguments of it.
        mask: the argument that says which parameters its `weight_decay` is for; None: no decay.
    """

    make: Callable[..., Any]
    settings: dict[str, Any]
    mask: str | None


def optimizer_named(text: str) -> OptimizerNamed:
    """Finds an optimiser.

    Args:
        text: `package.module:function`, with any settings in brackets: `optax:adamw(b2=0.98)`.

    Raises:
        ValueError: there is no such function, or it does not take these settings.

    >>> optimizer_named("optax:lion(b1=0.95)").settings, optimizer_named("optax:sgd").mask
    ({'b1': 0.95}, None)
    """
    name, settings = read_call(text)
    if settings is None:
        raise ValueError(
            f"kind: got {text!r}, expected settings as in Python, such as optax:adamw(b2=0.98)"
        )
    make = imported(name, "kind")
    try:
        takes = inspect.signature(make).parameters
    except (TypeError, ValueError):
        takes = {}
    if "learning_rate" not in takes:
        raise ValueError(
            f"kind: got {name!r}, which is {make!r}, expected a function of a learning_rate that "
            "returns an optax.GradientTransformation, such as optax:adamw"
        )
    masks = [x for x in ("mask", "weight_decay_mask") if x in takes and "weight_decay" in takes]
    ours = {"learning_rate", *(["weight_decay", masks[0]] if masks else [])}
    known = [each for each in takes if each not in ours]
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"kind: got {text!r}, but {name} takes {', '.join(known)}; learning_rate and "
                "weight_decay are options of their own"
            )
    return OptimizerNamed(make, settings, masks[0] if masks else None)

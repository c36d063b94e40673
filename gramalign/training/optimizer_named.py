"""Optimisers by name: optax's, or your own, with settings."""

from dataclasses import dataclass

from gramalign.imported import Named, named


@dataclass(frozen=True)
class OptimizerNamed:
    """What makes an optimiser.

    Attributes:
        make: a function of a `learning_rate`, which may be a schedule, with its settings.
        mask: the argument that says which parameters its `weight_decay` is for; None: no decay.
    """

    make: Named
    mask: str | None


def optimizer_named(text: str) -> OptimizerNamed:
    """Finds an optimiser.

    Args:
        text: `package.module:function`, with any settings in brackets: `optax:adamw(b2=0.98)`.

    Raises:
        ValueError: there is no such function, or it does not take these settings.

    >>> optimizer_named("optax:adamw").mask, optimizer_named("optax:sgd").mask
    ('mask', None)
    """
    make = named(text, "kind", "optax:adamw(b2=0.98)")
    if "learning_rate" not in make.takes:
        raise ValueError(
            f"kind: got {text!r}, which is {make.found!r}, expected a function of a learning_rate "
            "that returns an optax.GradientTransformation, such as optax:adamw"
        )
    masks = [x for x in ("mask", "weight_decay_mask") if {x, "weight_decay"} <= set(make.takes)]
    mask = masks[0] if masks else None
    make.check_settings("kind", ("learning_rate", *(("weight_decay", mask) if mask else ())))
    return OptimizerNamed(make, mask)

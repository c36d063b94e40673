"""The terms of an objective: a loss, its settings, and which of them are learned."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Bool, Float

from gramalign import losses
from gramalign.losses.over_mesh import without_unused
from gramalign.models import LogitScale, Number
from gramalign.models.number import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from gramalign.training.checks import as_declared, check
from gramalign.types import Embeddings, Present

OWN = ("learn_", "head_")
"""Prefixes of settings that the loss does not take."""


@dataclass(frozen=True)
class Term:
    """A loss with its settings filled in.

    A term is a frozen dataclass. Its fields are the loss's settings, under the same names, except
    for `learn_...` (whether a number is learned) and `head_...` (the shape of its heads).
    """

    loss: ClassVar[Callable[..., Float[Array, " batch"]]]
    """The function, called with the embeddings and, by keyword, settings and batch."""
    score: ClassVar[str] = "cosine"
    """The Score that it trains, as `gramalign.scores.score_named` reads it, or "fused"."""
    needs_labels: ClassVar[bool] = False
    """Whether its groups are the examples' classes, instead of those that show the same thing."""
    draws: ClassVar[bool] = False
    """Whether each step gives its loss a `key` to draw with."""
    learns: ClassVar[Mapping[str, Callable[[float], Number]]] = {}
    """What makes a learned number of a setting: unless its `learn_...` is False, it is learned."""

    def __post_init__(self):
        as_declared(self)

    @property
    def anchor(self) -> str | None:
        """The modality that an example needs to take part; None if any two are enough."""
        return None

    def check_modalities(self, modalities: tuple[str, ...]) -> None:
        """Raises a ValueError if the term cannot be computed for these modalities."""
        valid = self.anchor is None or self.anchor in modalities
        check(self, "anchor", valid, f"None or one of {', '.join(modalities)}")

    def doubt(self, modalities: tuple[str, ...]) -> str:
        """What may keep the term from learning anything of these modalities, and what to do."""
        return ""

    @classmethod
    def takes(cls, argument: str) -> bool:
        """Whether the loss takes one of the arguments that are the batch's, such as `axis_name`."""
        return bool(without_unused(cls.loss, {argument: None}))

    def numbers(self) -> dict[str, Number]:
        """The learned numbers, by the setting that they replace and whose value they start at."""
        return {
            name: learned(getattr(self, name))
            for name, learned in self.learns.items()
            if getattr(self, f"learn_{name}", True)
        }

    def heads(self, modalities: tuple[str, ...], dim: int, rngs: nnx.Rngs) -> dict[str, nnx.Module]:
        """Modules that make further embeddings from a batch's own, by the names of these.

        Each is called as `head(embeddings, present)` and returns unit rows `[batch, dim]` and where
        they are present `[batch]`; the loss sees them beside the modalities.
        """
        del modalities, dim, rngs
        return {}

    def head(self, modalities: tuple[str, ...], dim: int, rngs: nnx.Rngs) -> nnx.Module | None:
        """A module that the loss calls itself, as its argument `head`; None if it takes none."""
        del modalities, dim, rngs
        return None

    def participants(
        self, embeddings: Embeddings, present: Present | None
    ) -> Bool[Array, " batch"]:
        """Which examples the term's mean is over."""
        return losses.participants(embeddings, present, self.anchor)

    def __call__(self, embeddings: Embeddings, **given: Any) -> Float[Array, " batch"]:
        """Values per example.

        Args:
            embeddings: by modality, and those of the term's heads.
            **given: `present`, `groups`, `axis_name` and `engine` as for a loss, which need not
                take all of them; learned numbers, in place of settings; its head and a key, if any.
        """
        return self.loss(embeddings, **{**self.settings(), **without_unused(self.loss, given)})

    def settings(self) -> dict[str, Any]:
        """The fields as keyword arguments of the loss."""
        names = [f.name for f in dataclasses.fields(self) if not f.name.startswith(OWN)]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Anchored(Term):
    """A term with an anchor."""

    anchor: str | None = None
    """Modality compared with the others; None: each in turn."""


@dataclass(frozen=True)
class Tempered(Term):
    """A term with a temperature."""

    learns = {"temperature": LogitScale}

    temperature: float = 0.07
    """Temperature, or initial value of a learned one."""
    learn_temperature: bool = False
    """Learn the temperature, in [0.01, 1]; on small data it falls until the data are memorised."""

    def __post_init__(self):
        super().__post_init__()
        valid = 0 < self.temperature < math.inf
        check(self, "temperature", valid, "a positive, finite number")
        within = LOWEST_TEMPERATURE <= self.temperature <= HIGHEST_TEMPERATURE
        start = f"a start within [{LOWEST_TEMPERATURE}, {HIGHEST_TEMPERATURE:g}]"
        valid = within or not self.learn_temperature
        check(self, "temperature", valid, f"{start} for a learned temperature")


@dataclass(frozen=True)
class Smoothed(Tempered):
    """A term with a softmax over the batch, whose target is smoothed."""

    label_smoothing: float = 0.0
    """Share of the softmax target spread over all candidates, in [0, 1)."""

    def __post_init__(self):
        super().__post_init__()
        check(self, "label_smoothing", 0 <= self.label_smoothing < 1, "a number in [0, 1)")


@dataclass(frozen=True)
class Contrastive(Smoothed, Anchored):
    """A term with an anchor, a temperature and smoothing."""

"""What a term of an objective is: a loss, its settings, and what of them is learned."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Bool, Float

from gramalign import losses
from gramalign.models import LogitScale, Number
from gramalign.training.checks import check
from gramalign.types import Embeddings, Present

_BATCH = ("present", "groups", "axis_name", "engine")  # arguments that are no settings
_OWN = ("learn_", "head_")  # settings that the loss knows nothing of begin so


@dataclass(frozen=True)
class Term:
    """A loss with its settings filled in.

    A term is a frozen dataclass. Its fields are settings of the loss, by the same names, but for
    those called `learn_...` (whether a number is learned) and `head_...` (the shape of its heads).
    """

    loss: ClassVar[Callable[..., Float[Array, " batch"]]]
    """The function, called with the embeddings and, by keyword, settings and batch."""
    score: ClassVar[str] = "cosine"
    """The Score that it trains, by its name in `gramalign.scores.SCORES`."""
    anchor: ClassVar[str | None] = None
    """The modality an example must have to take part; None where any two will do."""
    learns: ClassVar[Mapping[str, Callable[[float], Number]]] = {}
    """What makes a learned number of a setting: unless its `learn_...` is False, it is learned."""

    def check_modalities(self, modalities: tuple[str, ...]) -> None:
        """Raises a ValueError if the term cannot be computed for these modalities."""
        valid = self.anchor is None or self.anchor in modalities
        check(self, "anchor", valid, f"None or one of {', '.join(modalities)}")

    def numbers(self) -> dict[str, Number]:
        """The learned numbers, by the setting in whose place they come and at which they start."""
        return {
            name: learned(getattr(self, name))
            for name, learned in self.learns.items()
            if getattr(self, f"learn_{name}", True)
        }

    def heads(self, modalities: tuple[str, ...], dim: int, rngs: nnx.Rngs) -> dict[str, nnx.Module]:
        """Modules that make further embeddings of a batch's own, by the names of what they make.

        Each is called as `head(embeddings, present)` and returns unit rows `[batch, dim]` and where
        they are there `[batch]`; the loss sees them beside the modalities.
        """
        del modalities, dim, rngs
        return {}

    def participants(
        self, embeddings: Embeddings, present: Present | None
    ) -> Bool[Array, " batch"]:
        """Which examples the term's mean is over."""
        return losses.participants(embeddings, present, self.anchor)

    def __call__(self, embeddings: Embeddings, **given: Any) -> Float[Array, " batch"]:
        """Values per example.

        Args:
            embeddings: by modality, and those of the term's heads.
            **given: `present`, `groups`, `axis_name` and `engine` as of a loss, which need not take
                those it has no use for; and learned numbers, in the place of settings.
        """
        takes = inspect.signature(self.loss).parameters.values()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in takes):
            unused = set(_BATCH) - {parameter.name for parameter in takes}
            given = {name: x for name, x in given.items() if name not in unused}
        names = [f.name for f in dataclasses.fields(self) if not f.name.startswith(_OWN)]
        settings = {name: getattr(self, name) for name in names}
        return self.loss(embeddings, **{**settings, **given})


@dataclass(frozen=True)
class Anchored(Term):
    """A contrast over the batch, with an anchor and a temperature."""

    learns = {"temperature": LogitScale}

    anchor: str | None = None
    """Modality that is held against the others; None takes each in turn."""
    temperature: float = 0.07
    """Softmax temperature, or where a learned one starts."""
    learn_temperature: bool = True
    """Learn the temperature, within [0.01, 1]."""

    def __post_init__(self):
        check(self, "temperature", self.temperature > 0, "a positive number")
        check(
            self,
            "temperature",
            not self.learn_temperature or 0.01 <= self.temperature <= 1,
            "a start within [0.01, 1] for a learned temperature",
        )


@dataclass(frozen=True)
class Contrastive(Anchored):
    """The same with a smoothed target."""

    label_smoothing: float = 0.0
    """Share of the softmax's target spread over all candidates, in [0, 1)."""

    def __post_init__(self):
        super().__post_init__()
        check(self, "label_smoothing", 0 <= self.label_smoothing < 1, "a number in [0, 1)")

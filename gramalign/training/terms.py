"""The terms an objective can be made of: the settings of each loss, and the call it stands for.

A new term is one class here, one row in `TERMS` and one field of `Config`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from gramalign import losses
from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.mesh import AxisName
from gramalign.training.checks import check
from gramalign.types import Embeddings, Present

Scalar = float | Float[Array, ""]


@runtime_checkable
class Term(Protocol):
    """A loss with its settings filled in."""

    @property
    def anchor(self) -> str | None:
        """The modality an example must have to take part; None where any two will do."""
        ...

    @property
    def learned_temperature(self) -> float | None:
        """Where a learned temperature starts; None for a term that learns none."""
        ...

    def __call__(
        self,
        embeddings: Embeddings,
        *,
        temperature: Scalar | None,
        present: Present | None,
        groups: Int[Array, " batch"] | None,
        axis_name: AxisName | None = None,
        engine: Engine = DEFAULT_ENGINE,
    ) -> Float[Array, " batch"]:
        """Values per example, as of a loss; `temperature` is the learned one, if there is one."""
        ...


@dataclass(frozen=True)
class _Contrastive:
    anchor: str | None = None
    """Modality that is held against the others; None takes each in turn."""
    temperature: float = 0.07
    """Softmax temperature, or where a learned one starts."""
    learn_temperature: bool = True
    """Learn the temperature, within [0.01, 1]."""
    label_smoothing: float = 0.0
    """Share of the softmax's target spread over all candidates, in [0, 1)."""

    def __post_init__(self):
        check(self, "temperature", self.temperature > 0, "a positive number")
        check(
            self,
            "temperature",
            not self.learn_temperature or 0.01 <= self.temperature <= 1,
            "a start within [0.01, 1] for a learned temperature",
        )
        check(self, "label_smoothing", 0 <= self.label_smoothing < 1, "a number in [0, 1)")

    @property
    def learned_temperature(self) -> float | None:
        return self.temperature if self.learn_temperature else None

    def _settings(self, temperature: Scalar | None) -> dict:
        return {
            "anchor": self.anchor,
            "temperature": self.temperature if temperature is None else temperature,
            "label_smoothing": self.label_smoothing,
        }


@dataclass(frozen=True)
class Gram(_Contrastive):
    """GRAM: the volume that a tuple spans, contrasted over the batch."""

    label_smoothing: float = 0.1
    """Share of the softmax's target spread over all candidates, in [0, 1)."""

    def __call__(self, embeddings, *, temperature, **batch):  # noqa: D102
        return losses.gram(embeddings, **self._settings(temperature), **batch)


@dataclass(frozen=True)
class Clip(_Contrastive):
    """CLIP: the cosine of pairs, contrasted over the batch."""

    def __call__(self, embeddings, *, temperature, **batch):  # noqa: D102
        return losses.clip(embeddings, **self._settings(temperature), **batch)


@dataclass(frozen=True)
class Pmrl:
    """PMRL: the leading singular value of a tuple, and its leading directions contrasted."""

    tau_alignment: float = 0.05
    """Temperature of the softmax over a tuple's singular values."""
    tau_instance: float = 0.1
    """Temperature of the softmax over leading directions."""
    signed: bool = True
    """Fix each direction's sign towards its tuple's mean; otherwise square the cosines."""

    def __post_init__(self):
        for name in ("tau_alignment", "tau_instance"):
            check(self, name, getattr(self, name) > 0, "a positive number")

    @property
    def anchor(self) -> None:
        """None: any two modalities will do."""
        return None

    @property
    def learned_temperature(self) -> None:
        """None: both temperatures are fixed, as published."""
        return None

    def __call__(self, embeddings, *, temperature, **batch):  # noqa: D102
        del temperature
        return losses.pmrl(
            embeddings,
            tau_alignment=self.tau_alignment,
            tau_instance=self.tau_instance,
            signed=self.signed,
            **batch,
        )


TERMS: dict[str, type[Term]] = {"gram": Gram, "pmrl": Pmrl, "clip": Clip}

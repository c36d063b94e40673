"""Terms of volumes: GRAM, its variants and its kin."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from gramalign import losses
from gramalign.geometry.simplex import regular_volume
from gramalign.models import Number
from gramalign.scores.named import called
from gramalign.scores.volume import Form
from gramalign.training.checks import POSITIVE, SHARE
from gramalign.training.term import Contrastive, Smoothed


@dataclass(frozen=True)
class Gram(Contrastive):
    """GRAM: the volume that a tuple spans, contrasted over the batch."""

    loss = staticmethod(losses.gram)

    form: Form = "volume"
    """Volume, its square, its logarithm or its n-th root, for n present modalities."""
    label_smoothing: float = 0.1
    """Share of the softmax target spread over all candidates, in [0, 1)."""

    @property
    def score(self) -> str:
        """The volume, or its root; its square and its logarithm rank as it does."""
        return called("volume", form="root" if self.form == "root" else "volume")


@dataclass(frozen=True)
class LogVolume(Gram):
    """GRAM with the logarithm of the volume."""

    form: Form = "log"
    """Volume, its square, its logarithm or its n-th root, for n present modalities."""
    temperature: float = 0.1
    """Temperature, or initial value of a learned one."""


@dataclass(frozen=True)
class SquaredVolume(Gram):
    """GRAM with the squared volume."""

    form: Form = "squared"
    """Volume, its square, its logarithm or its n-th root, for n present modalities."""
    temperature: float = 0.3
    """Temperature, or initial value of a learned one."""


@dataclass(frozen=True)
class Height(Contrastive):
    """The distance of an anchor from the span of the others, contrasted over the batch."""

    loss = staticmethod(losses.height)
    score = "height"

    squared: bool = False
    """Contrast the squared distance, which has no kink."""


@dataclass(frozen=True)
class Simplex(Contrastive):
    """The volume of the simplex whose corners are the modalities, contrasted over the batch."""

    loss = staticmethod(losses.simplex)

    temperature: float = 0.03
    """Temperature, or initial value of a learned one."""
    squared: bool = False
    """Contrast the squared volume, which is smooth everywhere."""
    scaled: bool = False
    """Contrast the volume's share of the largest, which falls with the number of modalities."""

    def doubt(self, modalities):  # noqa: D102
        largest = regular_volume(len(modalities)) ** (2 if self.squared else 1)
        if self.scaled or largest >= 2 * self.temperature:
            return ""
        return (
            f"simplex: the {'squared ' if self.squared else ''}volume of {len(modalities)} "
            f"modalities is at most {largest:.2g}, so small beside a temperature of "
            f"{self.temperature:g} that little can be learned: set simplex.scaled"
        )

    @property
    def score(self) -> str:
        """The volume, scaled or not; its square ranks as it does."""
        return called("simplex", scaled=self.scaled)


@dataclass(frozen=True)
class Triangle(Contrastive):
    """TRIANGLE: the area that three modalities span, contrasted over the batch."""

    loss = staticmethod(losses.triangle)
    score = "simplex"

    temperature: float = 0.03
    """Temperature, or initial value of a learned one."""
    root: bool = True
    """The area as published, or twice its square as released."""

    def check_modalities(self, modalities):  # noqa: D102
        super().check_modalities(modalities)
        if len(modalities) != 3:
            raise ValueError(
                f"triangle needs exactly three modalities, got {', '.join(modalities)}: choose "
                "three with --modalities, or use simplex"
            )


@dataclass(frozen=True)
class Hypergram(Contrastive):
    """HyperGRAM: a mix of the hyperbolic and the Euclidean volume, contrasted over the batch.

    Its Score is the hyperbolic volume alone, whatever the mix.
    """

    loss = staticmethod(losses.hypergram)
    score = "hyperbolic"
    learns = {**Contrastive.learns, "mix": partial(Number, low=0.0, high=1.0)}

    temperature: float = 0.3
    """Temperature, or initial value of a learned one."""
    mix: Annotated[float, SHARE] = 0.5
    """Share of the Euclidean volume, or initial value of a learned one."""
    learn_mix: bool = True
    """Learn the share, within [0, 1]."""
    label_smoothing: float = 0.1
    """Share of the softmax target spread over all candidates, in [0, 1)."""


@dataclass(frozen=True)
class KernelVolume(Contrastive):
    """The volume in an RBF kernel's feature space, contrasted over the batch."""

    loss = staticmethod(losses.kernel_volume)

    temperature: float = 0.015
    """Temperature, or initial value of a learned one."""
    bandwidth: Annotated[float, POSITIVE] = 1.0
    """The kernel's width."""

    @property
    def score(self) -> str:
        """The kernel volume of the term's width."""
        return called("kernel_volume", bandwidth=self.bandwidth)


@dataclass(frozen=True)
class Barybind(Smoothed):
    """BaryBind: GRAM's volume with a barycentre as the anchor."""

    loss = staticmethod(losses.barybind)
    score = "volume"

    label_smoothing: float = 0.1
    """Share of the softmax target spread over all candidates, in [0, 1)."""

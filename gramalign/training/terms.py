"""The terms an objective can be made of.

A new one is a class here and a row in `TERMS`: the rest of the library finds it there.
"""

from dataclasses import dataclass

from gramalign import losses
from gramalign.training.checks import check
from gramalign.training.term import Contrastive, Term


@dataclass(frozen=True)
class Gram(Contrastive):
    """GRAM: the volume that a tuple spans, contrasted over the batch."""

    loss = staticmethod(losses.gram)
    score = "volume"

    label_smoothing: float = 0.1
    """Share of the softmax's target spread over all candidates, in [0, 1)."""


@dataclass(frozen=True)
class Clip(Contrastive):
    """CLIP: the cosine of pairs, contrasted over the batch."""

    loss = staticmethod(losses.clip)


@dataclass(frozen=True)
class Pmrl(Term):
    """PMRL: the leading singular value of a tuple, and its leading directions contrasted."""

    loss = staticmethod(losses.pmrl)
    score = "spectral"

    tau_alignment: float = 0.05
    """Temperature of the softmax over a tuple's singular values."""
    tau_instance: float = 0.1
    """Temperature of the softmax over leading directions."""
    signed: bool = True
    """Fix each direction's sign towards its tuple's mean; otherwise square the cosines."""

    def __post_init__(self):
        for name in ("tau_alignment", "tau_instance"):
            check(self, name, getattr(self, name) > 0, "a positive number")


TERMS: dict[str, type[Term]] = {"gram": Gram, "pmrl": Pmrl, "clip": Clip}

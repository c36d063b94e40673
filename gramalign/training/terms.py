"""The terms that an objective can consist of.

A new one is a class, here or in `gramalign/training/volume_terms.py`, a row in `TERMS` and a line
in `gramalign/training/__init__.py`: config, command line, model, log, tests and the list of methods
find it there.

Temperatures are as published if known and if they work; others, for Scores with another range, were
chosen on rows held out of the training part of the digits.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from gramalign import losses
from gramalign.models import Completion, FusionHead, MatchingHead, Number
from gramalign.scores.named import called, spelled
from gramalign.training.checks import POSITIVE, SHARE, WEIGHT, at_least, check
from gramalign.training.term import Anchored, Contrastive, Smoothed, Tempered, Term
from gramalign.training.volume_terms import (
    Barybind,
    Gram,
    Height,
    Hypergram,
    KernelVolume,
    LogVolume,
    Simplex,
    SquaredVolume,
    Triangle,
)


@dataclass(frozen=True)
class Spectral(Contrastive):
    """The leading singular value of a tuple, contrasted over the batch."""

    loss = staticmethod(losses.spectral)
    score = "spectral"

    temperature: float = 0.015
    """Temperature, or initial value of a learned one."""


@dataclass(frozen=True)
class Sca(Contrastive):
    """SCA: the cosine with the others' sum, weighted by fit, contrasted over the batch."""

    loss = staticmethod(losses.sca)

    weight_temperature: Annotated[float, POSITIVE] = 0.1
    """Temperature of the softmax that weights the others."""

    @property
    def score(self) -> str:
        """The aggregate with weights of the term's temperature."""
        return called("aggregate", weight_temperature=self.weight_temperature)


@dataclass(frozen=True)
class _OfAnyScore(Anchored):
    of: str = "cosine"
    """Score to train: the cosine of pairs, or one of an anchor against all others, by name or your
    own as package.module:Class, with any settings, such as "volume(form='root')"."""

    def __post_init__(self):
        super().__post_init__()
        try:
            spelling = spelled(self.of)
        except ValueError as error:
            text = str(error).removeprefix("score: ")
            raise ValueError(f"{type(self).__name__}.of: {text}") from None
        object.__setattr__(self, "of", spelling)

    @property
    def score(self) -> str:
        """The Score that it trains."""
        return self.of

    def settings(self):  # noqa: D102
        settings = super().settings()
        del settings["of"]
        return settings | {"score_of": None if self.of == "cosine" else self.of}


@dataclass(frozen=True)
class Clip(Smoothed, _OfAnyScore):
    """CLIP: the cosine of pairs, or another Score, contrasted over the batch."""

    loss = staticmethod(losses.clip)


@dataclass(frozen=True)
class Matching(_OfAnyScore):
    """GRAM's matching: a head tells matched tuples from the hardest mismatched ones."""

    loss = staticmethod(losses.matching)
    draws = True

    of: str = "volume"
    """Score by which mismatched tuples are hard, of an anchor against all others, by name or your
    own as package.module:Class, with any settings, such as "volume(form='root')"."""
    temperature: float = 0.07
    """Temperature of the softmax that mismatched tuples are drawn from."""
    head_hidden: Annotated[int, at_least(1)] = 256
    """Width of the head's hidden layer."""

    def __post_init__(self):
        super().__post_init__()
        valid = 0 < self.temperature < math.inf
        check(self, "temperature", valid, "a positive, finite number")

    @property
    def score(self) -> str:
        """It trains none: the other terms' is the objective's."""
        return "cosine"

    def settings(self):  # noqa: D102
        return super().settings() | {"score_of": self.of}

    def head(self, modalities, dim, rngs):  # noqa: D102
        return MatchingHead(modalities, dim, hidden=self.head_hidden, rngs=rngs)


@dataclass(frozen=True)
class Supcon(Tempered, _OfAnyScore):
    """Supervised contrast: the members of a class are each other's positives."""

    loss = staticmethod(losses.supcon)
    needs_labels = True


@dataclass(frozen=True)
class Siglip(Tempered, _OfAnyScore):
    """SigLIP: each pair is classified on its own as matched or not."""

    loss = staticmethod(losses.siglip)
    learns = {**Tempered.learns, "bias": Number}

    temperature: float = 0.05
    """Temperature that divides scores, or initial value of a learned one."""
    bias: float = -10.0
    """Bias then added to scores, or initial value of a learned one."""
    learn_bias: bool = True
    """Learn the bias."""


@dataclass(frozen=True)
class Centrobind(Smoothed):
    """CentroBind: every modality against the centroid of all, contrasted over the batch."""

    loss = staticmethod(losses.centrobind)

    temperature: float = 0.12
    """Temperature, or initial value of a learned one."""


@dataclass(frozen=True)
class Vast(Contrastive):
    """VAST: the cosine with one embedding that fuses all others, contrasted over the batch."""

    loss = staticmethod(losses.vast)
    score = "fused"

    label_smoothing: float = 0.1
    """Share of the softmax target spread over all candidates, in [0, 1)."""

    def heads(self, modalities, dim, rngs):  # noqa: D102
        heads = {}
        for anchor in modalities if self.anchor is None else [self.anchor]:
            rest = tuple(sorted(name for name in modalities if name != anchor))
            if len(rest) > 1:  # of two modalities, the other is what it is
                heads[losses.fused_rest(modalities, anchor)] = FusionHead(rest, dim, rngs=rngs)
        return heads


@dataclass(frozen=True)
class Confu(Smoothed):
    """ConFu: the cosine of pairs, and of fused pairs with the others, contrasted over the batch."""

    loss = staticmethod(losses.confu)

    fused_weight: Annotated[float, SHARE] = 0.5
    """Share of the fused pairs' terms, in [0, 1]."""
    head_hidden: Annotated[int, at_least(1)] = 128
    """Width of the fusing perceptrons' hidden layer."""

    def check_modalities(self, modalities):  # noqa: D102
        if len(modalities) < 3:
            raise ValueError(f"confu needs at least three modalities, got {', '.join(modalities)}")

    def heads(self, modalities, dim, rngs):  # noqa: D102
        return {
            name: FusionHead(pair, dim, hidden=self.head_hidden, all_needed=True, rngs=rngs)
            for name, pair in losses.fused_pairs(modalities).items()
        }


@dataclass(frozen=True)
class Symile(Tempered):
    """Symile: the multilinear inner product of whole tuples, against recombined ones."""

    loss = staticmethod(losses.symile)

    temperature: float = 0.2
    """Temperature, or initial value of a learned one."""
    negatives: losses.Negatives = "shuffled"
    """As many combinations of the others as examples (shuffled) or, for three modalities, all."""
    scaled: bool = True
    """Multiply products by dim^((k - 1) / 2), which brings them to size 1."""

    def check_modalities(self, modalities):  # noqa: D102
        if self.negatives == "all" and len(modalities) != 3:
            raise ValueError(
                "symile.negatives=all needs exactly three modalities, got "
                f"{', '.join(modalities)}: choose three with --modalities, or use shuffled"
            )

    @property
    def score(self) -> str:
        """The product, scaled or not."""
        return called("product", scaled=self.scaled)


@dataclass(frozen=True)
class Pmrl(Term):
    """PMRL: the leading singular value of a tuple, and its leading directions contrasted."""

    loss = staticmethod(losses.pmrl)
    score = "spectral"

    tau_alignment: Annotated[float, POSITIVE] = 0.05
    """Temperature of the softmax over a tuple's singular values."""
    tau_instance: Annotated[float, POSITIVE] = 0.1
    """Temperature of the softmax over leading directions."""
    signed: bool = True
    """Fix each direction's sign towards its tuple's mean; otherwise square the cosines."""


@dataclass(frozen=True)
class Calmrl(Pmrl):
    """CalMRL: PMRL of tuples that are completed where modalities are missing."""

    loss = staticmethod(losses.calmrl)

    head_rank: Annotated[int, at_least(1)] = 32
    """Directions that modalities vary along together, or all of a narrower space."""

    def head(self, modalities, dim, rngs):  # noqa: D102
        return Completion(modalities, dim, rank=min(self.head_rank, dim), rngs=rngs)


@dataclass(frozen=True)
class Alignment(Term):
    """Distance between the modalities of an example."""

    loss = staticmethod(losses.alignment)

    power: Annotated[float, at_least(1)] = 2.0
    """Power of the distance, at least 1."""


@dataclass(frozen=True)
class Uniformity(Term):
    """How evenly each modality's embeddings are spread over the sphere."""

    loss = staticmethod(losses.uniformity)

    t: Annotated[float, POSITIVE] = 2.0
    """How fast the potential falls with the squared distance."""


@dataclass(frozen=True)
class ModalityGap(Term):
    """Distance between the modalities' centres."""

    loss = staticmethod(losses.modality_gap)


@dataclass(frozen=True)
class Consistency(Term):
    """CyCLIP's squared differences between the modalities' similarities."""

    loss = staticmethod(losses.consistency)

    cross_modal: Annotated[float, WEIGHT] = 1.0
    """Weight of differences between similarities across modalities, at least 0."""
    in_modal: Annotated[float, WEIGHT] = 1.0
    """Weight of differences between similarities within modalities, at least 0."""


@dataclass(frozen=True)
class Vicreg(Term):
    """VICReg: matched embeddings close, every coordinate spread, no two coordinates alike."""

    loss = staticmethod(losses.vicreg)

    invariance: Annotated[float, WEIGHT] = 25.0
    """Weight of the distance between matched embeddings, at least 0."""
    variance: Annotated[float, WEIGHT] = 25.0
    """Weight of the coordinates' lack of spread, at least 0."""
    covariance: Annotated[float, WEIGHT] = 1.0
    """Weight of the coordinates' covariances, at least 0."""


@dataclass(frozen=True)
class Separation(Term):
    """Squared cosines of the examples' leading directions."""

    loss = staticmethod(losses.separation)
    score = "spectral"


TERMS: dict[str, type[Term]] = {
    "gram": Gram,
    "log_volume": LogVolume,
    "squared_volume": SquaredVolume,
    "height": Height,
    "simplex": Simplex,
    "triangle": Triangle,
    "barybind": Barybind,
    "hypergram": Hypergram,
    "kernel_volume": KernelVolume,
    "pmrl": Pmrl,
    "calmrl": Calmrl,
    "spectral": Spectral,
    "separation": Separation,
    "clip": Clip,
    "centrobind": Centrobind,
    "sca": Sca,
    "vast": Vast,
    "confu": Confu,
    "symile": Symile,
    "siglip": Siglip,
    "matching": Matching,
    "supcon": Supcon,
    "alignment": Alignment,
    "uniformity": Uniformity,
    "modality_gap": ModalityGap,
    "consistency": Consistency,
    "vicreg": Vicreg,
}
"""Every term by name: what an objective, a config and the command line can name."""

"""Figures about the space itself: are matched tuples tight, is the sphere used, do modalities part?

    volume              of the whole tuple, 0 where all modalities agree
    leading share       sigma_1^2 / sum_j sigma_j^2, 1 where all modalities agree, at least 1 / k
    uniformity          log mean_{i != j} exp(-2 |x_i - x_j|^2), 0 if collapsed, lower is more even
    modality gap        |mean_i x_i - mean_i y_i|
    alignment           mean_i |x_i - y_i|^2

A mismatched tuple has one modality taken from the example before; every modality takes its turn and
the mean over all of them is given. Volume and leading share are taken over the complete tuples
alone, since both change with the number of modalities; gap and alignment over the examples that
have both modalities, so that they do not depend on who lacks what.

Sources: volume, Cicchetti et al., arXiv 2412.11959; leading share, after the singular values of
Liu et al., arXiv 2507.17343; uniformity and alignment, Wang and Isola, arXiv 2005.10242; modality
gap, Liang et al., arXiv 2203.02053.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.evaluation.records import number, to_plain
from gramalign.geometry import singular_values, volume
from gramalign.losses.uniformity import spread
from gramalign.scores import Side


@dataclass(frozen=True)
class TupleFigure:
    """Mean of a figure over matched tuples and over mismatched ones."""

    matched: float
    mismatched: float


@dataclass(frozen=True)
class PairFigures:
    """How two modalities lie to each other over the examples that have both."""

    first: str
    second: str
    examples: int
    gap: float
    alignment: float


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of one set of embeddings; NaN where no example could be measured.

    Attributes:
        complete: number of examples with every modality, over which tuples are measured.
        volume: volume of tuples, 0 (all agree) to 1 (orthogonal).
        leading_share: share of the leading singular value, 1/k to 1 (all agree).
        uniformity: per modality, at most 0; about -4 for an even spread in many dimensions.
        pairs: modality gap and alignment of each pair.
    """

    complete: int
    volume: TupleFigure
    leading_share: TupleFigure
    uniformity: Mapping[str, float]
    pairs: tuple[PairFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`; NaN becomes None."""
        return to_plain(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Diagnostics":
        """The inverse of `to_json`."""

        def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
            return {key: number(value) for key, value in values.items()}

        return cls(
            complete=record["complete"],
            volume=TupleFigure(**numbers(record["volume"])),
            leading_share=TupleFigure(**numbers(record["leading_share"])),
            uniformity=numbers(record["uniformity"]),
            pairs=tuple(
                PairFigures(
                    first=pair["first"],
                    second=pair["second"],
                    examples=pair["examples"],
                    gap=number(pair["gap"]),
                    alignment=number(pair["alignment"]),
                )
                for pair in record["pairs"]
            ),
        )


def diagnose(data: EmbeddingSet) -> Diagnostics:
    """Measure the geometry of embeddings.

    Args:
        data: checked embeddings.

    Returns:
        The diagnostics.
    """
    complete = np.all(list(data.present.values()), axis=0)
    volumes, shares = _tuple_figures(data, complete)
    return Diagnostics(
        complete=int(complete.sum()),
        volume=volumes,
        leading_share=shares,
        uniformity={
            name: _uniformity(data.embeddings[name], data.present[name]) for name in data.modalities
        },
        pairs=tuple(
            _pair_figures(data, first, second)
            for first, second in itertools.combinations(data.modalities, 2)
        ),
    )


def _tuple_figures(data: EmbeddingSet, complete: np.ndarray) -> tuple[TupleFigure, TupleFigure]:
    if not complete.any():
        return TupleFigure(math.nan, math.nan), TupleFigure(math.nan, math.nan)
    tuples = np.stack([data.embeddings[name][complete] for name in data.modalities], axis=1)
    labels = (np.arange(len(data)) if data.groups is None else data.groups)[complete]
    # The example before is no mismatch where it belongs to the same group.
    foreign = labels != np.roll(labels, 1)
    matched = _volume_and_share(tuples)
    mismatched = []
    for i in range(tuples.shape[1]):
        mixed = tuples.copy()
        mixed[:, i] = np.roll(tuples[:, i], 1, axis=0)
        # All rows, though some do not count: one shape, one compilation.
        mismatched.append(_volume_and_share(mixed)[:, foreign])
    volumes, shares = (
        TupleFigure(_mean(good), _mean(bad))
        for good, bad in zip(matched, np.concatenate(mismatched, axis=1), strict=True)
    )
    return volumes, shares


def _volume_and_share(tuples: np.ndarray) -> np.ndarray:
    return np.asarray(_jitted_volume_and_share(jnp.asarray(tuples)), np.float64)


@jax.jit
def _jitted_volume_and_share(tuples: Float[Array, "n k d"]) -> Float[Array, "2 n"]:
    squares = singular_values(tuples) ** 2
    total = squares.sum(axis=-1)
    return jnp.stack([volume(tuples), squares.max(axis=-1) / jnp.where(total == 0, 1, total)])


def _uniformity(units: np.ndarray, present: np.ndarray) -> float:
    if present.sum() < 2:
        return math.nan
    return float(_jitted_spread(Side(jnp.asarray(units), jnp.asarray(present))))


_jitted_spread = jax.jit(spread)


def _pair_figures(data: EmbeddingSet, first: str, second: str) -> PairFigures:
    both = data.present[first] & data.present[second]
    apart = data.embeddings[first][both] - data.embeddings[second][both]
    if not len(apart):
        return PairFigures(first, second, 0, math.nan, math.nan)
    return PairFigures(
        first=first,
        second=second,
        examples=len(apart),
        gap=float(np.linalg.norm(apart.mean(axis=0, dtype=np.float64))),
        alignment=float(np.square(apart).sum(axis=1).mean(dtype=np.float64)),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan

"""A weighted sum of Scores: what one is blind to, another may see.

    s_ij = sum_n w_n s^(n)_ij

HyperGRAM mixes the hyperbolic with the Euclidean volume, TRIANGLE searches by area and cosine, and
any Scores with the same modalities on either side can be mixed. The weights are part of the row
factors, so that they can be learned.

Source: Cicchetti et al. (TRIANGLE), NeurIPS 2025, arXiv 2509.24734, for area and cosine; HyperGRAM,
CVPR 2026, for two volumes.
Needs: what its Scores need.
Cost: the sum of theirs.
Singular set: theirs.
Blind spot: what all of them are blind to.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry.norms import at_least_float32
from gramalign.scores.protocol import Score, Side
from gramalign.types import Embeddings, Present

Weights = tuple[float | Float[Array, ""], ...]


class _Rows(NamedTuple):
    factors: tuple[Any, ...]
    weights: tuple[Float[Array, " r"], ...]


@dataclass(frozen=True)
class MixedScore:
    """Weighted sum of several Scores.

    Attributes:
        scores: with the same modalities on either side; a row or column is valid if it is valid
            under all of them.
        weights: one for each Score. `rows` and `matched` also accept weights, which may be traced:
            a Score is a constant of a compiled function, its weights need not be.

    Raises:
        ValueError: unless there are as many weights as Scores, one at least.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore, VolumeScore
    >>> emb = {"text": jnp.eye(2), "audio": -jnp.eye(2)}
    >>> MixedScore((VolumeScore("text"), CosineScore("text")), (1.0, 0.5)).matched(emb).tolist()
    [-0.5, -0.5]
    """

    scores: tuple[Score, ...]
    weights: tuple[float, ...]

    def __post_init__(self):
        if not self.scores or len(self.scores) != len(self.weights):
            raise ValueError(
                "scores and weights must be equal in number, at least one each, got "
                f"{len(self.scores)} and {len(self.weights)}"
            )

    def rows(
        self,
        embeddings: Embeddings,
        present: Present | None = None,
        weights: Weights | None = None,
    ) -> Side:
        """Each Score's row factors, and the weights `[b]`."""
        weights = self._weights(weights)
        side = self._together([score.rows(embeddings, present) for score in self.scores])
        wide = at_least_float32(next(iter(embeddings.values()))).dtype
        numbers = [jnp.asarray(w, wide) for w in weights]
        spread = tuple(jnp.broadcast_to(w, side.valid.shape) for w in numbers)
        return Side(_Rows(side.factors, spread), side.valid)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Each Score's column factors."""
        return self._together([score.cols(embeddings, present) for score in self.scores])

    def tile(self, rows: _Rows, cols: tuple[Any, ...]) -> Float[Array, "r c"]:
        """The weighted sum of the Scores' tiles."""
        tiles = [s.tile(r, c) for s, r, c in zip(self.scores, rows.factors, cols, strict=True)]
        terms = [w[:, None] * tile for w, tile in zip(rows.weights, tiles, strict=True)]
        return sum(terms[1:], start=terms[0])

    def matched(
        self,
        embeddings: Embeddings,
        present: Present | None = None,
        weights: Weights | None = None,
    ) -> Float[Array, " batch"]:
        """The weighted sum of the Scores' matched scores."""
        weights = self._weights(weights)
        scores = [score.matched(embeddings, present) for score in self.scores]
        terms = [
            jnp.asarray(w, score.dtype) * score for w, score in zip(weights, scores, strict=True)
        ]
        return sum(terms[1:], start=terms[0])

    def _weights(self, others: Weights | None) -> Weights:
        if others is None:
            return self.weights
        if len(others) != len(self.scores):
            raise ValueError(
                f"weights must hold one for each of {len(self.scores)} Scores, got {len(others)}"
            )
        return others

    def _together(self, sides: list[Side]) -> Side:
        valid = sides[0].valid
        for side in sides[1:]:
            valid &= side.valid
        return Side(tuple(side.factors for side in sides), valid)

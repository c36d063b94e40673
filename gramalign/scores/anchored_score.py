"""The base of Scores that compare an anchor with the tuple of all other modalities."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from gramalign.scores.products import as_factor
from gramalign.scores.protocol import Side
from gramalign.scores.sides import one, rest, whole
from gramalign.types import Embeddings, Present


@dataclass(frozen=True)
class AnchoredScore(ABC):
    """A Score with one modality on the row side and all others, as one tuple, on the column side.

    Attributes:
        anchor: the modality on the row side.
    """

    anchor: str

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The anchor `[b, d]`."""
        return one(embeddings, present, "anchor", self.anchor)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The result of `columns` on the others, with vectors `[b, d]` cast by `as_factor`."""
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        dtype = jnp.result_type(*embeddings.values())  # the anchor's as well, or nothing is won

        def narrow(x: Array) -> Array:
            return as_factor(x, dtype) if x.ndim == 2 else x

        factors = jax.tree.map(narrow, self.columns(vectors, kept))
        return Side(factors, jnp.any(kept, axis=1))

    @abstractmethod
    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> PyTree[Array]:
        """The factors of the others' tuples; `kept` says which modalities are present."""

    @abstractmethod
    def tile(self, rows: Float[Array, "r d"], cols: Any) -> Float[Array, "r c"]:
        """Scores of every anchor against every tuple of others."""

    @abstractmethod
    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Scores of the corresponding rows and columns, to full precision."""


@dataclass(frozen=True)
class SymmetricScore(AnchoredScore):
    """A Score whose matched score does not depend on which modality is the anchor.

    It knows no modality by name but the anchor: exchanging two modalities in the embeddings has the
    same effect as exchanging them as anchors.
    """

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Scores of the whole tuples, the same for every anchor."""
        return self.of_tuples(*whole(embeddings, present))

    @abstractmethod
    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """Scores of whole tuples; `kept` says which modalities are present."""

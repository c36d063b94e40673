"""The central concept: a Score says how well row tuples match column tuples; each method is one."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, PyTree

from gramalign.types import Embeddings, Present


class Side(NamedTuple):
    """One side of a comparison: computed once per example, used in every tile.

    Attributes:
        factors: arrays with a leading batch axis; only the Score knows what they mean.
        valid: `[batch]`, False where the example lacks all modalities of this side.
    """

    factors: PyTree[Array]
    valid: Bool[Array, " batch"]


@runtime_checkable
class Tiled(Protocol):
    """What the engine requires of a Score: any block of its score matrix."""

    def tile(self, rows: Any, cols: Any) -> Float[Array, "r c"]:
        """Scores of every row against every column, for any block of each side's `factors`."""
        ...


@runtime_checkable
class Score(Tiled, Protocol):
    """How well row tuples match column tuples; larger is better aligned.

    A Score is a small hashable value (a frozen dataclass), so it can be closed over or passed as a
    static argument. It splits the work for a score matrix into what is done once per row, once per
    column, and once per pair; the last is `tile`, which should do most of its work in matrix
    products.
    """

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Factors of the row side, one per example."""
        ...

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Factors of the column side, one per example."""
        ...

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Score of row i against column i, from the embeddings themselves.

        The pairs that training draws together need more digits than the factors carry: a tile may
        suffer cancellation where its row and column nearly coincide. Equals the diagonal of the
        tiles up to rounding.
        """
        ...

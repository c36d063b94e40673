"""Cosine similarity: the field's usual Score, one modality against another or against all others.

    s_ij = <a_i, b_j>,   b_j = one modality, or normalize(sum of the others)

Embeddings are unit length, so the inner product is the cosine. Smooth everywhere except where the
others sum to zero, for which the score and its derivative are 0.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from gramalign.geometry import normalize
from gramalign.geometry.tuples import take_apart
from gramalign.scores.protocol import Side
from gramalign.scores.sides import one, rest
from gramalign.types import Embeddings, Present


@dataclass(frozen=True)
class CosineScore:
    """Cosine of modality `row` with modality `col`, or with the direction of all others' sum.

    Attributes:
        row: the modality on the row side.
        col: the modality on the column side; None: the normalised sum of every other one that is
        present.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(2), "audio": jnp.array([[0.6, 0.8], [0.0, 1.0]])}
    >>> score = CosineScore("text", "audio")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(1))
    [[0.6 0. ]
     [0.8 1. ]]
    """

    row: str
    col: str | None = None

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The row modality's embeddings `[b, d]`."""
        return one(embeddings, present, "row", self.row)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The column modality's embeddings, or the direction of the others' sum, `[b, d]`."""
        if self.col is not None:
            return one(embeddings, present, "col", self.col)
        vectors, kept = rest(embeddings, present, "row", self.row)
        first, *others = take_apart(vectors, kept)
        return Side(normalize(sum(others, start=first)), jnp.any(kept, axis=1))

    def tile(self, rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
        """One matrix product."""
        return jnp.matmul(rows, cols.T, precision=Precision.HIGHEST)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Inner products of the corresponding rows."""
        rows, cols = self.rows(embeddings, present), self.cols(embeddings, present)
        return jnp.sum(rows.factors * cols.factors, axis=-1)

"""Cosine similarity: the field's usual Score, one modality against another or against all others.

    s_ij = <a_i, b_j>,   b_j = one modality, or normalize(sum of the others)

Embeddings are unit length, so the inner product is the cosine.

Source: the usual similarity; Radford et al. (CLIP), ICML 2021, arXiv 2103.00020.
Needs: one modality, against another or against all others; k >= 2.
Cost: 2 d flops a pair; memory O(B d).
Singular set: others that sum to zero, for which the score and its derivative are 0.
Blind spot: how the others are spread around their sum: it does not show whether they agree.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from gramalign.geometry.norms import at_least_float32
from gramalign.scores.products import as_factor, product
from gramalign.scores.protocol import Side
from gramalign.scores.sides import centroid, one, rest
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
        direction, dtype, valid = self._others(embeddings, present)
        return Side(as_factor(direction, dtype), valid)

    def tile(self, rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
        """One matrix product."""
        return product(rows, cols)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Inner products of the corresponding rows."""
        rows = at_least_float32(self.rows(embeddings, present).factors)
        if self.col is None:
            cols, _, _ = self._others(embeddings, present)
        else:
            cols = at_least_float32(self.cols(embeddings, present).factors)
        return jnp.sum(rows * cols, axis=-1)

    def _others(
        self, embeddings: Embeddings, present: Present | None
    ) -> tuple[Float[Array, "batch d"], DTypeLike, Bool[Array, " batch"]]:
        vectors, kept = rest(embeddings, present, "row", self.row)
        direction, valid = centroid(vectors, kept)
        return direction, jnp.result_type(*embeddings.values()), valid

"""Height as a Score: how far the anchor lies from the span of all other modalities, negated.

    h(a_i, M_j) = sqrt(|a_i|^2 - |Q_j a_i|^2) = Vol(a_i, M_j) / Vol(M_j)
    s_ij = -h,  or  -h^2 if squared

Q_j is an orthonormal basis of the span of tuple j's other vectors. This is GRAM's volume without
the factor Vol(M_j), which says nothing of the anchor but, as one tuple's others agree more than
another's, lets some tuples come first whatever the anchor. For unit vectors h is the sine of the
anchor's angle to the span, on one scale for tuples of any size. At k = 2 it is the volume. Finding
the anchor of a given tuple, both Scores rank alike. Matched tuples are accurate however close the
modalities are (`gramalign.geometry.height`).

Source: base times height, from GRAM: Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: an anchor; k >= 2. A missing modality is left out of the tuple.
Cost: 2 (k - 1) d flops a pair; memory O(B k d).
Singular set: an anchor within the span of the others, where the height is 0 and has a kink unless
squared; derivatives are 0 there. Others that are dependent, where the span loses a dimension and
the height jumps; derivatives are those above the smaller span.
Blind spot: signs, and whether the others agree with each other: of two that nearly coincide, their
small difference counts as much as they do. Each further modality makes the span wider, so that with
modalities missing larger tuples fit any anchor a little better; the derivative of the height
vanishes at orthogonality.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry import height, orthonormal_basis
from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.tuples import unstack
from gramalign.scores.anchored_score import AnchoredScore
from gramalign.scores.products import product, rounding
from gramalign.scores.sides import one, rest
from gramalign.types import Embeddings, Present

Directions = tuple[Float[Array, "c d"], ...]


def squared_heights(rows: Float[Array, "r d"], basis: Directions) -> Float[Array, "r c"]:
    """Squared distance of every row from every tuple's span, by a matrix product a vector.

    Those below the rounding noise of the difference are 0: the rest of |a|^2 after cancellation is
    arbitrary there, and its root would be a thousandfold larger.
    """
    wide = at_least_float32(rows)
    square = jnp.sum(wide * wide, axis=-1)[:, None]
    inside = jnp.zeros((), square.dtype)
    for vectors in basis:
        along = product(rows, vectors)
        inside += along * along
    outside = square - inside
    return jnp.where(outside <= tile_noise(rows, basis[0]) * square, 0, outside)


def tile_noise(rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> float:
    """Squared heights in a tile below this share of the squared length are rounding noise."""
    return 4 * rounding(rows, cols)


@dataclass(frozen=True)
class HeightScore(AnchoredScore):
    """Minus the distance, or its square, of the anchor from the span of the other modalities.

    Attributes:
        squared: use the square, which is smooth wherever the others are independent.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = HeightScore("text")
    >>> score.tile(score.rows(emb).factors, score.cols(emb).factors).tolist()
    [[-0.0, -1.0], [-1.0, -0.0]]
    """

    squared: bool = False

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> Directions:
        """The others' orthonormal basis, zeros for an absent one."""
        return tuple(unstack(orthonormal_basis(vectors, kept).vectors, 1))

    def tile(self, rows: Float[Array, "r d"], cols: Directions) -> Float[Array, "r c"]:
        """By k - 1 matrix products; distances below the rounding noise of the difference are 0."""
        squares = squared_heights(rows, cols)
        return -squares if self.squared else -sqrt(squares)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Scores of corresponding anchors and tuples, accurate however close they are."""
        anchor = one(embeddings, present, "anchor", self.anchor).factors
        heights = height(anchor, *rest(embeddings, present, "anchor", self.anchor))
        return -heights * heights if self.squared else -heights

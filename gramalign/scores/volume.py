"""GRAM's volume as a Score: the anchor against the tuple of all other modalities, negated.

    Vol(a_i, M_j) = c_j sqrt(|a_i|^2 - |Q_j a_i|^2)                 (GRAM, arXiv 2412.11959)

Q_j is an orthonormal basis of the span of tuple j's other vectors and c_j their own volume, so a
score matrix is k - 1 matrix products and a square root, where the published code takes a k x k
determinant per pair. The matched tuples are computed by the sheared factorisation of the whole
tuple, exact however close they are.

Cost per pair: 2 (k - 1) d flops. Singular set: an anchor within the span of the others (or a tuple
whose others are dependent), where the score is 0, the largest possible, and has a kink; derivatives
are 0 there. Blind spots, inherent in the volume: signs do not matter (Vol(-t, v) = Vol(t, v)), two
equal non-anchor vectors make every anchor fit (Vol(t, v, v) = 0), and the derivative vanishes at
orthogonality.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry import orthonormal_basis, volume
from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.tuples import unstack
from gramalign.scores.products import as_factor, product, rounding
from gramalign.scores.protocol import Side
from gramalign.scores.sides import one, rest, whole
from gramalign.types import Embeddings, Present


class _Span(NamedTuple):
    basis: tuple[Float[Array, "c d"], ...]
    volume: Float[Array, " c"]


@dataclass(frozen=True)
class VolumeScore:
    """Minus the volume that the anchor and the other modalities of a tuple span.

    Attributes:
        anchor: the modality on the row side; all others move together on the column side.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = VolumeScore("text")
    >>> score.tile(score.rows(emb).factors, score.cols(emb).factors).tolist()
    [[-0.0, -1.0], [-1.0, -0.0]]
    """

    anchor: str

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The anchor `[b, d]`."""
        return one(embeddings, present, "anchor", self.anchor)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Basis, k - 1 times `[b, d]`, and volume `[b]` of the others; zeros for an absent one."""
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        span = orthonormal_basis(vectors, kept)
        basis = tuple(as_factor(q, vectors.dtype) for q in unstack(span.vectors, 1))
        return Side(_Span(basis, span.volume), jnp.any(kept, axis=1))

    def tile(self, rows: Float[Array, "r d"], cols: _Span) -> Float[Array, "r c"]:
        """K - 1 matrix products; distances below the rounding noise of their difference are 0."""
        wide = at_least_float32(rows)
        square = jnp.sum(wide * wide, axis=-1)[:, None]
        inside = jnp.zeros((), square.dtype)
        for vectors in cols.basis:
            along = product(rows, vectors)
            inside += along * along
        # What is left of |a|^2 after cancellation is noise below a few epsilons; its root would be
        # a thousandfold larger, with a derivative that points anywhere.
        outside = square - inside
        noise = 4 * rounding(rows, cols.basis[0]) * square
        return -cols.volume[None, :] * sqrt(jnp.where(outside <= noise, 0, outside))

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Volumes of the whole tuples; the anchor plays no part in them."""
        return -volume(*whole(embeddings, present))

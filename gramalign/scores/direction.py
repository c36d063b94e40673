"""PMRL's instance similarity as a Score: whether two tuples share their leading direction.

    s_ij = <u_i, u_j>  or  <u_i, u_j>^2,   u = leading direction of a tuple

u is an eigenvector, whose sign is arbitrary. The published code takes whichever the SVD returns, so
the similarity of two examples has a random sign; here u points to the side of the modalities' mean,
or squaring makes the sign irrelevant.

Source: Liu et al. (PMRL), 2025, arXiv 2507.17343, instance term.
Needs: whole tuples on both sides, no anchor; k >= 2.
Cost: 2 d flops a pair, and one k x k eigenproblem a tuple; memory O(B d).
Singular set: that of `gramalign.geometry.leading_direction`: a tuple whose two largest singular
values are equal has no unique direction, and the derivative leaves out the rotation there.
Blind spot: whether a tuple's modalities agree: the match of an example with itself is always 1.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry import leading_direction
from gramalign.scores.products import as_factor, product
from gramalign.scores.protocol import Side
from gramalign.scores.sides import whole
from gramalign.types import Embeddings, Present


@dataclass(frozen=True)
class DirectionScore:
    """Cosine, or squared cosine, of the leading directions of two whole tuples.

    Attributes:
        signed: whether opposite directions are dissimilar (True) or alike (False, the squared
            form).
    """

    signed: bool = True

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Leading directions `[b, d]`, signed towards the modalities' mean."""
        vectors, kept = whole(embeddings, present)
        direction = leading_direction(vectors, kept)
        return Side(as_factor(direction, vectors.dtype), jnp.any(kept, axis=1))

    cols = rows

    def tile(self, rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
        """One matrix product."""
        cosine = product(rows, cols)
        return cosine if self.signed else cosine * cosine

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """1 for every tuple with a direction: an example always agrees with itself."""
        direction = leading_direction(*whole(embeddings, present))
        return jnp.sum(direction * direction, axis=-1)

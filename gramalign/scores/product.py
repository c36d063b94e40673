"""Product: Symile's multilinear inner product, coordinate by coordinate.

    s_ij = sum_d a_i[d] m2_j[d] .. mk_j[d],   scaled: times d^((k - 1) / 2)

The others of a tuple are multiplied once, so a score matrix is one matrix product. Between two
modalities it is the inner product. An absent modality is left out, as if it were all ones, and k
counts the present modalities.

The entries of a unit vector are of order d^(-1/2), so that every further modality makes the score
d^(1/2) times smaller: between random directions its variance is d^(1 - k). With `scaled`, the
variance is 1 for every k and d, so that incomplete tuples and complete ones have one scale; between
two modalities the score is then d^(1/2) times the inner product.

Source: Saporta et al., NeurIPS 2024, arXiv 2411.01053, section 3; the scale: Rheude et al., 2026,
arXiv 2604.05834.
Needs: an anchor; k >= 2 modalities.
Cost: 2 d flops a pair, whatever k is; one vector per example and side.
Singular set: none; smooth everywhere.
Blind spot: alignment as such. The axes matter: rotating all modalities together changes the score,
and equal unit vectors score 1 on one axis and d^(1 - k/2) when spread over all. Flipping the signs
of two of three cancels out. Where two modalities have disjoint supports, the score is 0 and no
third has a gradient; where every two have, none has a gradient. With modalities missing, tuples of
one size tend to rank first whatever the anchor.
"""

from dataclasses import dataclass
from functools import reduce

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32
from gramalign.geometry.tuples import unstack
from gramalign.scores.anchored_score import AnchoredScore
from gramalign.scores.products import product
from gramalign.scores.sides import rest
from gramalign.types import Embeddings, Present


@dataclass(frozen=True)
class ProductScore(AnchoredScore):
    """Sum over the coordinates of the product of the anchor and all other modalities of a tuple.

    Attributes:
        scaled: whether to multiply by d^((k - 1) / 2).

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(2), "audio": jnp.eye(2), "video": jnp.array([[0.6, 0.8], [0, 1.0]])}
    >>> score = ProductScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(1))
    [[0.6 0. ]
     [0.  1. ]]
    """

    scaled: bool = False

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> Array:
        """The product of all present others, `[b, d]`."""
        parts = zip(unstack(vectors, 1), unstack(kept, 1), strict=True)
        return reduce(jnp.multiply, [neutral(*part, self.scaled) for part in parts])

    def tile(self, rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
        """One matrix product."""
        return product(rows, cols)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """The products, summed over the coordinates."""
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        anchor = at_least_float32(self.rows(embeddings, present).factors)
        return jnp.sum(anchor * self.columns(vectors, kept), axis=-1)

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """The same of whole tuples, in which no modality is the anchor."""
        return jnp.sum(self.columns(vectors, kept), axis=-1) * self.of_all_scaled(vectors.shape[-1])

    def of_all_scaled(self, dim: int) -> float:
        """What corrects a product of vectors that are all scaled: in a score, all but one are."""
        return dim**-0.5 if self.scaled else 1.0


def neutral(
    vectors: Float[np.ndarray | Array, "b d"], kept: Bool[Array, " b"], scaled: bool
) -> Array:
    """One modality as a factor of an elementwise product, `[b, d]`: ones where it is absent.

    Scaled vectors have entries of order 1, so that products of many neither grow nor vanish.
    """
    wide = at_least_float32(vectors)
    return jnp.where(kept[:, None], wide * vectors.shape[1] ** 0.5 if scaled else wide, 1)

"""Hyperbolic volume: minus the volume of anchor and others lifted to the hyperboloid, as HyperGRAM.

    pi(x) = (sqrt(1 + |x|^2), x),   <x, y>_L = -x_0 y_0 + x_1 y_1 + .. + x_d y_d
    V(a_i, M_j) = sqrt(|det G_L|),  G_L: products <., .>_L of pi(a_i) and of pi(m), m in M_j

With b the first vector of tuple j, (t_l, s_l) an orthonormal basis of what the rest add to its span
(`gramalign.geometry.lorentz`), and c_j their volume,

    V = c_j sqrt(w_0^2 - 1 - w_1^2 - w_2^2 ..),   w_0 = b.a - b_0 a_0,   w_l = s_l.a - t_l a_0

so that a tile takes k - 1 matrix products and a root. V is not bounded by 1: sqrt(8) for two
opposite unit vectors. The paper learns a mix with the Euclidean volume; this is the hyperbolic part
alone.

Source: Hyperbolic Gramian Volumes for Multimodal Alignment (HyperGRAM), CVPR 2026; GRAM:
    Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: an anchor; two modalities or more, any k; unit length is usual, but not needed. In float32
    with k >= 3, mismatched tuples lose accuracy with the square of their length: at length 30,
    derivatives err by 1e-4.
Cost: 2 (k - 1) d flops per pair; memory O(B k d).
Singular set: lifted vectors that are linearly dependent (two equal modalities; of unit vectors
    also four on a circle): a kink, where the score is 0, the largest possible; derivatives are 0
    there.
Blind spot: two equal non-anchor vectors make every anchor fit. Signs do matter. With modalities
    missing, tuples of one size tend to rank first whatever the anchor.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.lorentz import LorentzSpan, lorentz_span, time
from gramalign.geometry.norms import sqrt
from gramalign.scores.anchored_score import SymmetricScore
from gramalign.scores.products import product, rounding


@dataclass(frozen=True)
class HyperbolicVolumeScore(SymmetricScore):
    """Minus the hyperbolic volume that the anchor and the other modalities of a tuple span.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = HyperbolicVolumeScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4))
    [[-0.     -1.7321]
     [-1.7321 -0.    ]]
    """

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> LorentzSpan:
        """The first of the others, a basis of what the rest add to it, and the volume."""
        return lorentz_span(vectors, kept)

    def tile(self, rows: Float[Array, "r d"], cols: LorentzSpan) -> Float[Array, "r c"]:
        """By k - 1 matrix products; distances below the rounding noise of the difference are 0."""
        row_time, col_time = time(rows)[:, None], time(cols.base)[None, :]
        away = product(rows, cols.base) - row_time * col_time
        outside = away * away - 1
        noise = rounding(rows, cols.base, as_given=True) * jnp.abs(away)
        for t, space in zip(cols.times, cols.spaces, strict=True):
            along = product(rows, space) - row_time * t[None, :]
            outside -= along * along
            noise += rounding(rows, space) * jnp.abs(along)
        noise *= 4 * row_time * col_time
        return -cols.volume[None, :] * sqrt(jnp.where(outside <= noise, 0, outside))

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """Minus the volume."""
        return -lorentz_span(vectors, kept).volume

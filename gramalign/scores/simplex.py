"""Simplex volume: an anchor and a tuple of others as corners; at k = 3 TRIANGLE's area.

    V(x_1..x_k) = sqrt(det D D^T) / (k - 1)!,   D = (x_2 - x_1, .., x_k - x_1)
    V(a_i, M_j) = V(M_j) dist(a_i, affine hull of M_j) / (k - 1)
    s_ij = -V,  or  -V^2 if squared;  scaled: V over that of the regular simplex of unit vectors

An edge's length at k = 2, TRIANGLE's area at k = 3. With f_j the point of the hull nearest to the
origin, and Q_j an orthonormal basis of the hull's directions, the squared distance is |a|^2 + |f|^2
- 2 a.f - |Q a|^2: k - 1 matrix products, where the published code holds all B^2 d differences.
Matched tuples are computed from their differences, accurate however close they are.

Source: Cicchetti et al. (TRIANGLE), NeurIPS 2025, arXiv 2509.24734, for k = 3; Cayley and Menger's
simplex volume for any k.
Needs: an anchor; k >= 2. With a modality missing, the simplex is that of the others, in other units
unless `scaled`. The largest volume falls from 2 at k = 2 to 0.03 at k = 6 and 1e-5 at k = 10.
Cost: 2 (k - 1) d flops a pair; memory O(B k d).
Singular set: an anchor within the hull of the others (or others that are dependent), where the
score is 0, the largest, and has a kink unless squared; derivatives are 0 there.
Blind spot: points on a line have no area: parallel differences, or two equal others, fit every
anchor. Signs do matter. With modalities missing, tuples of one size tend to rank first whatever the
anchor.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.simplex import Hull, affine_hull, of_simplices, simplex_volume
from gramalign.scores.anchored_score import SymmetricScore
from gramalign.scores.products import product, rounding


@dataclass(frozen=True)
class SimplexScore(SymmetricScore):
    """Minus the volume, or its square, of the simplex of the anchor and the other modalities.

    Attributes:
        squared: use the square, which is smooth everywhere.
        scaled: the volume as a share of `regular_volume`, from 0 to 1 for any number of corners.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = SimplexScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4) + 0)
    [[ 0.     -1.4142]
     [-1.4142  0.    ]]
    """

    squared: bool = False
    scaled: bool = False

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> Hull:
        """The others' hull, its volume in units of the simplex that the anchor completes."""
        hull = affine_hull(vectors, kept)
        corners = 1 + jnp.sum(kept, axis=1, dtype=jnp.int32)
        most = 1 + kept.shape[1]
        volume = of_simplices(hull.volume, corners, most=most, scaled=self.scaled)
        return hull._replace(volume=volume)

    def tile(self, rows: Float[Array, "r d"], cols: Hull) -> Float[Array, "r c"]:
        """By k - 1 matrix products; distances below the rounding noise of the difference are 0."""
        anchor, foot = at_least_float32(rows), at_least_float32(cols.foot)
        lengths = jnp.sum(anchor * anchor, axis=-1)[:, None] + jnp.sum(foot * foot, axis=-1)[None]
        outside = lengths - 2 * product(rows, cols.foot)
        for direction in cols.directions:
            along = product(rows, direction)
            outside -= along * along
        noise = 4 * rounding(rows, cols.foot) * lengths
        return self._score(cols.volume[None] * sqrt(jnp.where(outside <= noise, 0, outside)))

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """Minus the volume of the whole simplex, or its square."""
        return self._score(simplex_volume(vectors, kept, scaled=self.scaled))

    def _score(self, size: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return -size * size if self.squared else -size

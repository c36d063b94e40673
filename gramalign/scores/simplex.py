"""Simplex volume: an anchor and a tuple of others as corners; at k = 3 TRIANGLE's area.

    V(x_1..x_k) = sqrt(det D D^T) / (k - 1)!,   D = (x_2 - x_1, .., x_k - x_1)
    V(a_i, M_j) = V(M_j) dist(a_i, affine hull of M_j) / (k - 1)
    s_ij = -V,  or  -V^2 if squared

The length of the edge at k = 2, TRIANGLE's area at k = 3. With f_j the point of the hull that is
nearest to the origin, and Q_j an orthonormal basis of its directions, the squared distance is
|a|^2 + |f|^2 - 2 a.f - |Q a|^2: k - 1 matrix products, where the published code holds all B^2 d
differences. Matched tuples are computed from their differences, exact however close they are.

Source: Cicchetti et al. (TRIANGLE), NeurIPS 2025, arXiv 2509.24734, for k = 3; Cayley and Menger's
simplex volume for any k.
Needs: an anchor; k >= 2. With a modality missing, the simplex of the others: other units.
Cost: 2 (k - 1) d flops a pair; memory O(B k d).
Singular set: an anchor within the hull of the others (or others that are dependent), where the
score is 0, the largest, and has a kink unless squared; derivatives are 0 there.
Blind spot: points on a line have no area: parallel differences, or two equal others, fit every
anchor. Signs are seen.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry import orthonormal_basis, volume
from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.tuples import first_kept, take_apart, unstack
from gramalign.scores.products import as_factor, product, rounding
from gramalign.scores.protocol import Side
from gramalign.scores.sides import one, rest, whole
from gramalign.types import Embeddings, Present


class _Hull(NamedTuple):
    foot: Float[Array, "c d"]
    directions: tuple[Float[Array, "c d"], ...]
    size: Float[Array, " c"]


@dataclass(frozen=True)
class SimplexScore:
    """Minus the volume, or its square, of the simplex of the anchor and the other modalities.

    Attributes:
        anchor: the modality on the row side; all others move together on the column side.
        squared: the square, smooth everywhere.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = SimplexScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4) + 0)
    [[ 0.     -1.4142]
     [-1.4142  0.    ]]
    """

    anchor: str
    squared: bool = False

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The anchor `[b, d]`."""
        return one(embeddings, present, "anchor", self.anchor)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Of the others' hull: foot `[b, d]`, directions k - 2 times `[b, d]`, volume `[b]`."""
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        base, differences, apart = _spread(vectors, kept)
        basis = orthonormal_basis(differences, apart)
        # The first of them is the base, or absent: the hull of n points has n - 1 directions.
        directions = unstack(basis.vectors, 1)[1:]
        foot = base - sum(jnp.sum(base * q, axis=-1, keepdims=True) * q for q in directions)
        narrow = [as_factor(x, vectors.dtype) for x in (foot, *directions)]
        size = basis.volume / _factorial(kept, basis.volume)
        return Side(_Hull(narrow[0], tuple(narrow[1:]), size), jnp.any(kept, axis=1))

    def tile(self, rows: Float[Array, "r d"], cols: _Hull) -> Float[Array, "r c"]:
        """K - 1 matrix products; distances below the rounding noise of their difference are 0."""
        anchor, foot = at_least_float32(rows), at_least_float32(cols.foot)
        lengths = jnp.sum(anchor * anchor, axis=-1)[:, None] + jnp.sum(foot * foot, axis=-1)[None]
        outside = lengths - 2 * product(rows, cols.foot)
        for direction in cols.directions:
            along = product(rows, direction)
            outside -= along * along
        noise = 4 * rounding(rows, cols.foot) * lengths
        return self._score(cols.size[None] * sqrt(jnp.where(outside <= noise, 0, outside)))

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Simplices of the whole tuples; the anchor plays no part in them."""
        vectors, kept = whole(embeddings, present)
        _, differences, apart = _spread(vectors, kept)
        size = volume(differences, apart)
        return self._score(size / _factorial(apart, size))

    def _score(self, size: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return -size * size if self.squared else -size


def _spread(
    vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
) -> tuple[Float[Array, "b d"], Float[Array, "b k d"], Bool[Array, "b k"]]:
    """The first vector that is there, what the others differ from it by, and which others are."""
    rows = take_apart(vectors, kept)
    base, is_base = first_kept(rows, kept)
    return base, jnp.stack([x - base for x in rows], axis=1), kept & ~is_base


def _factorial(kept: Bool[Array, "b k"], like: Float[Array, " b"]) -> Float[Array, " b"]:
    """Of how many are there."""
    table = [math.factorial(n) for n in range(kept.shape[1] + 1)]
    return jnp.asarray(table, like.dtype)[jnp.sum(kept, axis=1, dtype=jnp.int32)]

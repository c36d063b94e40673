"""PMRL's leading singular value as a Score: how much one direction explains of row and column.

    s_ij = sigma_1([a_i, M_j])

It ranges from 1 (an orthogonal pair of unit vectors) to sqrt(k) (all parallel, up to sign).

The eigenproblems of the columns' Gram matrices are solved once. In their eigenbasis the joined
Gram matrix is an arrowhead,

    [ alpha  z^T ]      alpha = |a_i|^2,  z = B_j a_i  (k - 1 matrix products),
    [   z     L  ]      B_j = V_j^T M_j,  L = diag(lambda),

whose largest eigenvalue is the largest root of the secular equation lambda = alpha + sum_l z_l^2 /
(lambda - lambda_l), found elementwise in the tile.

Source: sigma_1 as similarity, Liu et al. (PMRL), 2025, arXiv 2507.17343; the secular equation,
Golub, 1973, doi 10.1137/1015032.
Needs: an anchor; k >= 2.
Cost: 2 (k - 1) d flops a pair and about 20 k elementwise; memory O(B k d).
Singular set: sigma_1 = sigma_2, a kink, where a subgradient is returned, and zero tuples, where it
is 0. First derivatives only: second ones of tiles raise a `NotImplementedError`.
Blind spot: signs, as for the volume; and an anchor orthogonal to others that agree. With modalities
missing, tuples of one size tend to rank first whatever the anchor.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry import singular_values
from gramalign.geometry.arrowhead import leading_eigenvalue
from gramalign.geometry.jacobi import eigh
from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.saved import saved
from gramalign.geometry.tuples import combine, inner_products, take_apart
from gramalign.scores.anchored_score import SymmetricScore
from gramalign.scores.products import product


class _Eigenbasis(NamedTuple):
    directions: tuple[Float[Array, "c d"], ...]
    gram: Float[Array, "c m m"]


@dataclass(frozen=True)
class SpectralScore(SymmetricScore):
    """Leading singular value of the anchor joined with all other modalities.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = SpectralScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4))
    [[1.4142 1.    ]
     [1.     1.4142]]
    """

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> _Eigenbasis:
        """The others rotated into their eigenbasis, and the Gram matrix of the result.

        The rotation is a constant to the derivative, which is taken through the whole rotated Gram
        matrix instead: its off-diagonal entries are zero in value, not in derivative. So nothing is
        ever divided by a gap between the columns' own eigenvalues.
        """
        rows = take_apart(vectors, kept)
        _, turn = eigh(stop_gradient(inner_products(rows)))
        turned = tuple(combine(saved(turn), rows))
        return _Eigenbasis(turned, inner_products(turned))

    def tile(self, rows: Float[Array, "r d"], cols: _Eigenbasis) -> Float[Array, "r c"]:
        """By k - 1 matrix products, then the secular equation elementwise."""
        links = jnp.stack([product(rows, u) for u in cols.directions])
        rows = at_least_float32(rows)
        return sqrt(leading_eigenvalue(jnp.sum(rows * rows, axis=-1), links, cols.gram))

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """The leading singular values."""
        return singular_values(vectors, kept)[:, 0]

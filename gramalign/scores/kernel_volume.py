"""Kernel volume: minus the volume of anchor and others in the feature space of a Gaussian kernel.

    V(a_i, M_j) = sqrt(det K),   K_mn = exp(-|x_m - x_n|^2 / (2 bandwidth^2)),  x of a_i and M_j

A kernel is the inner product of features phi(x) of unit length, so K is a Gram matrix: 0 <= V <= 1.
With W the inverse Cholesky factor of the others' K, and c_j their own volume,

    V = c_j sqrt(1 - |W k|^2),   k_l = exp(-|a_i - m_l|^2 / (2 bandwidth^2))

so that a tile takes k - 1 matrix products, as many exponentials, and a root. W, c_j and the matched
volumes come from squared distances in feature space (`gramalign.geometry.kernel`), to full
precision however close the modalities are.

Source: the kernel Gram matrix of SemMSA; its volume, that of GRAM: Cicchetti et al., ICLR 2025,
    arXiv 2412.11959.
Needs: an anchor; two modalities or more, any k; a bandwidth on the scale of their distances.
Cost: 2 (k - 1) d flops per pair and about k^2 / 2 elementwise; memory O(B k d).
Singular set: two equal modalities (distinct features are independent, to rounding): a kink, where
    the score is 0, the largest possible; derivatives are 0 there.
Blind spot: two equal non-anchor vectors make every anchor fit, and vectors many bandwidths apart
    have volume 1 and derivative 0 however far they are. Signs do matter. With modalities missing,
    tuples of one size tend to rank first whatever the anchor.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.kernel import orthonormal_features
from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.tuples import take_apart, unstack
from gramalign.scores.anchored_score import SymmetricScore
from gramalign.scores.products import product, rounding


class _Span(NamedTuple):
    vectors: tuple[Float[Array, "c d"], ...]
    weights: tuple[tuple[Float[Array, " c"], ...], ...]
    volume: Float[Array, " c"]


@dataclass(frozen=True)
class KernelVolumeScore(SymmetricScore):
    """Minus the volume of a tuple's features under a Gaussian kernel.

    Attributes:
        bandwidth: the distance at which the kernel has fallen to exp(-1/2).

    Raises:
        ValueError: for a bandwidth below 1e-18.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = KernelVolumeScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4))
    [[-0.     -0.9299]
     [-0.9299 -0.    ]]
    """

    bandwidth: float = 1.0

    def __post_init__(self):
        if not self.bandwidth >= 1e-18:  # else its square is 0 in float32
            raise ValueError(f"bandwidth must be positive, at least 1e-18, got {self.bandwidth}")

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> _Span:
        """The others, the lower triangle of W, and their volume."""
        features = orthonormal_features(vectors, kept, self._rate)
        lines = enumerate(unstack(features.weights, 1))
        weights = tuple(tuple(unstack(line, 1)[: m + 1]) for m, line in lines)
        return _Span(tuple(take_apart(vectors, kept)), weights, features.volume)

    def tile(self, rows: Float[Array, "r d"], cols: _Span) -> Float[Array, "r c"]:
        """By k - 1 matrix products; distances below the rounding noise of the difference are 0."""
        square = _square(rows)[:, None]
        kernels, nearest = [], jnp.zeros((), square.dtype)
        for vectors in cols.vectors:
            apart = square + _square(vectors)[None, :] - 2 * product(rows, vectors)
            kernels.append(jnp.exp(-self._rate * jnp.maximum(apart, 0)))
            nearest = jnp.maximum(nearest, kernels[-1])
        # A kernel's relative error is some epsilons, times the squares that cancelled.
        error = max(rounding(rows, vectors, as_given=True) for vectors in cols.vectors)
        error *= 2 * (1 + 2 * self._rate * square) * nearest
        outside, noise = jnp.ones_like(kernels[0]), jnp.zeros_like(kernels[0])
        for line in cols.weights:
            along, size = jnp.zeros_like(kernels[0]), jnp.zeros_like(cols.volume)
            for weight, kernel in zip(line, kernels, strict=False):
                along += weight[None, :] * kernel
                size += jnp.abs(weight)
            doubt = error * size[None, :]
            outside -= along * along
            noise += doubt * (2 * jnp.abs(along) + doubt)
        return -cols.volume[None, :] * sqrt(jnp.where(outside <= noise, 0, outside))

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """Minus the volumes."""
        return -orthonormal_features(vectors, kept, self._rate).volume

    @property
    def _rate(self) -> float:
        return 1 / (2 * self.bandwidth**2)


def _square(x: Float[Array, "batch d"]) -> Float[Array, " batch"]:
    x = at_least_float32(x)
    return jnp.sum(x * x, axis=-1)

"""GRAM's volume as a Score: the anchor against the tuple of all other modalities, negated.

    Vol(a_i, M_j) = c_j sqrt(|a_i|^2 - |Q_j a_i|^2)
    s_ij = -Vol,  -Vol^2,  -log Vol,  or  -Vol^(1/n)

Q_j is an orthonormal basis of the span of tuple j's other vectors and c_j their own volume, so a
score matrix takes k - 1 matrix products and a square root, where the published code takes a k x k
determinant per pair. Matched tuples are computed by the sheared factorisation of the whole tuple,
accurate however close the modalities are.

The logarithm, log(Vol^2 + 1e-6) / 2, is sensitive to ratios instead of differences. The floor is
twice what a float32 tile of two modalities cannot tell from 0, and about that of more; for bfloat16
embeddings it is 0.06 / sqrt(d), and twice that where the engine rounds both sides. With a smaller
floor, one step of rounding would be a jump in the score, by which mismatched tuples would beat
matched ones, or lose to them. The n-th root, for n modalities present in anchor and tuple, is a
mean of heights where the volume is their product, which shrinks with every further modality. So
tuples of different sizes have one scale, but not equal chances: all heights but the anchor's are
the tuple's own, and decide most of the mean (`gramalign.scores.height` takes the anchor's alone).
The root is as steep at 0 as a logarithm, and so is taken of sqrt(Vol^2 + floor) in bfloat16.

Source: Cicchetti et al., ICLR 2025, arXiv 2412.11959; n-th root after HyVol's masked volume.
Needs: an anchor; k >= 2. A missing modality is left out of the tuple.
Cost: 2 (k - 1) d flops a pair; memory O(B k d).
Singular set: an anchor within the span of the others (or a tuple whose others are dependent), where
the volume is 0 and has a kink; derivatives are 0 there.
Blind spot: signs, Vol(-t, v) = Vol(t, v); two equal others make every anchor fit, Vol(t, v, v) = 0;
the derivative vanishes at orthogonality. With modalities missing, tuples of one size tend to rank
first whatever the anchor, under the root too.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry import orthonormal_basis, volume
from gramalign.geometry.norms import sqrt
from gramalign.geometry.tuples import unstack
from gramalign.scores.anchored_score import SymmetricScore
from gramalign.scores.height import squared_heights, tile_noise

Form = Literal["volume", "squared", "log", "root"]

LOG_FLOOR = 1e-6
"""Added to the squared volume under the logarithm, which is then -6.9 at a volume of 0; larger
where factors are rounded to bfloat16."""


class _Span(NamedTuple):
    basis: tuple[Float[Array, "c d"], ...]
    volume: Float[Array, " c"]
    number: Float[Array, " c"]


@dataclass(frozen=True)
class VolumeScore(SymmetricScore):
    """Minus the volume that the anchor and the other modalities of a tuple span.

    Attributes:
        form: the volume itself, its square, logarithm or n-th root.

    Raises:
        ValueError: for an unknown form.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = VolumeScore("text")
    >>> score.tile(score.rows(emb).factors, score.cols(emb).factors).tolist()
    [[-0.0, -1.0], [-1.0, -0.0]]
    """

    form: Form = "volume"

    def __post_init__(self):
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {self.form!r}")

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> _Span:
        """The others' basis (zeros for an absent one), volume and number."""
        span = orthonormal_basis(vectors, kept)
        number = jnp.sum(kept, axis=1, dtype=span.volume.dtype)
        return _Span(tuple(unstack(span.vectors, 1)), span.volume, number)

    def tile(self, rows: Float[Array, "r d"], cols: _Span) -> Float[Array, "r c"]:
        """By k - 1 matrix products; distances below the rounding noise of the difference are 0."""
        sizes = cols.volume[None, :] * sqrt(squared_heights(rows, cols.basis))
        return self._score(sizes, 1 + cols.number[None, :], tile_noise(rows, cols.basis[0]))

    def of_tuples(
        self, vectors: Float[Array, "b k d"], kept: Bool[Array, "b k"]
    ) -> Float[Array, " b"]:
        """The scores of whole tuples, in the given form."""
        size, number = volume(vectors, kept), jnp.sum(kept, axis=1)
        return self._score(
            size, number.astype(size.dtype), tile_noise(vectors[:, 0], vectors[:, 1])
        )

    def _score(
        self, size: Float[Array, "*n"], number: Float[Array, "*m"], noise: float
    ) -> Float[Array, "*n"]:
        """The negated volume of `number` vectors, in the given form, for tiles with this noise."""
        if self.form == "squared":
            return -size * size
        if self.form == "log":
            return -jnp.log(size * size + max(LOG_FLOOR, 2 * noise)) / 2
        if self.form == "root":
            if noise > LOG_FLOOR:
                size = jnp.sqrt(size * size + 2 * noise)
            zero = size <= 0
            return -jnp.where(zero, 0, jnp.where(zero, 1, size) ** (1 / jnp.maximum(number, 1)))
        return -size

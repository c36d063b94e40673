"""Hyperbolic volume: minus the volume of anchor and others lifted to the hyperboloid, as HyperGRAM.

    pi(x) = (sqrt(1 + |x|^2), x),   <x, y>_L = -x_0 y_0 + x_1 y_1 + .. + x_d y_d
    V(a_i, M_j) = sqrt(|det G_L|),  G_L: products <., .>_L of pi(a_i) and of pi(m), m in M_j

G_L is indefinite and has no Cholesky factor. But Lorentz boosts leave it as it is, and the one that
takes b, the first of tuple j, to (1, 0, .., 0) turns the volume into the Euclidean one of what the
others become: boost(x) = d + ((b.d) / (1 + b_0) - d.(x + b) / (x_0 + b_0)) b with d = x - b. This
is how matched tuples are computed; written in differences, it keeps all digits of close ones. For
columns, an orthonormal basis of the boosted others, boosted back to vectors (t_l, s_l), gives

    V = c_j sqrt(w_0^2 - 1 - w_1^2 - w_2^2 ..),   w_0 = b.a - b_0 a_0,   w_l = s_l.a - t_l a_0

with their volume c_j. A tile is k - 1 matrix products and a root. V is not bounded by 1: sqrt(8)
for two opposite unit vectors. The paper learns a mix with the Euclidean volume; this is the
hyperbolic part alone.

Source: Hyperbolic Gramian Volumes for Multimodal Alignment (HyperGRAM), CVPR 2026; GRAM:
    Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: an anchor; two modalities or more, any k; unit length is usual, but not needed.
Cost: 2 (k - 1) d flops per pair; memory O(B k d).
Singular set: lifted vectors that are linearly dependent (two equal modalities; of unit vectors
    also four on a circle): a kink, where the score is 0, the largest possible; derivatives are 0
    there.
Blind spot: two equal non-anchor vectors make every anchor fit. Signs do matter.
"""

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


class _Span(NamedTuple):
    base: Float[Array, "c d"]
    times: tuple[Float[Array, " c"], ...]
    spaces: tuple[Float[Array, "c d"], ...]
    volume: Float[Array, " c"]


@dataclass(frozen=True)
class HyperbolicVolumeScore:
    """Minus the hyperbolic volume that the anchor and the other modalities of a tuple span.

    Attributes:
        anchor: the modality on the row side; all others move together on the column side.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(3)[:2], "audio": jnp.eye(3)[:2]}
    >>> score = HyperbolicVolumeScore("text")
    >>> print(score.tile(score.rows(emb).factors, score.cols(emb).factors).round(4))
    [[-0.     -1.7321]
     [-1.7321 -0.    ]]
    """

    anchor: str

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The anchor `[b, d]`."""
        return one(embeddings, present, "anchor", self.anchor)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """The first of the others `[b, d]`, what the rest add to it (k - 2 vectors), the volume."""
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        base, boosted, others = _boost(vectors, kept)
        span = orthonormal_basis(boosted, others)
        # The first place in the basis is empty: that modality is the base, or absent.
        units = unstack(span.vectors, 1)[1:]
        times = [jnp.sum(base * unit, axis=-1) for unit in units]
        share = base / (1 + _time(base))[:, None]
        spaces = [unit + t[:, None] * share for unit, t in zip(units, times, strict=True)]
        base, *spaces = (as_factor(x, vectors.dtype) for x in (base, *spaces))
        return Side(_Span(base, tuple(times), tuple(spaces), span.volume), jnp.any(kept, axis=1))

    def tile(self, rows: Float[Array, "r d"], cols: _Span) -> Float[Array, "r c"]:
        """K - 1 matrix products; distances below the rounding noise of their difference are 0."""
        row_time, col_time = _time(rows)[:, None], _time(cols.base)[None, :]
        away = product(rows, cols.base) - row_time * col_time
        outside = away * away - 1
        # Embeddings are multiplied as they are, the further vectors as rounded as the factors are.
        noise = jnp.finfo(away.dtype).eps * jnp.abs(away)
        for time, space in zip(cols.times, cols.spaces, strict=True):
            along = product(rows, space) - row_time * time[None, :]
            outside -= along * along
            noise += rounding(rows, space) * jnp.abs(along)
        noise *= 4 * row_time * col_time
        return -cols.volume[None, :] * sqrt(jnp.where(outside <= noise, 0, outside))

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Volumes of the whole tuples; the anchor plays no part in them."""
        _, boosted, others = _boost(*whole(embeddings, present))
        return -volume(boosted, others)


def _time(x: Float[Array, "batch d"]) -> Float[Array, " batch"]:
    x = at_least_float32(x)
    return jnp.sqrt(1 + jnp.sum(x * x, axis=-1))


def _boost(
    vectors: Float[Array, "batch k d"], kept: Bool[Array, "batch k"]
) -> tuple[Float[Array, "batch d"], Float[Array, "batch k d"], Bool[Array, "batch k"]]:
    """The first vector that is present, what the others become seen from it, and which they are."""
    rows = take_apart(vectors, kept)
    base, is_base = first_kept(rows, kept)

    def seen(x: Float[Array, "batch d"]) -> Float[Array, "batch d"]:
        apart = x - base
        later = jnp.sum(apart * (x + base), axis=-1) / (_time(x) + _time(base))
        along = jnp.sum(apart * base, axis=-1) / (1 + _time(base))
        return apart + (along - later)[:, None] * base

    return base, jnp.stack([seen(x) for x in rows], axis=1), kept & ~is_base

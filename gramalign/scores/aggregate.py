"""Aggregated cosine: an anchor against the others, each weighted by how well it fits the anchor.

    s_ij = <a_i, z> / |z|,   z = sum_m w_m z_m,j,   w = softmax_m( <a_i, z_m,j> / tau_w )

The weights depend on the anchor, so z differs from pair to pair. It is never formed: its length
follows from the others' Gram matrix. An absent modality has weight 0.

Source: SCA / SCALAR, weighted aggregation; tau_w = 0.1 as published.
Needs: an anchor; k >= 2 (at k = 2 the cosine).
Cost: 2 (k - 1) d flops a pair and some k^2 elementwise; memory O(B k d).
Singular set: a weighted sum of the others that vanishes, where score and derivative are 0.
Blind spot: a modality that fits nothing is weighted away: one good modality is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32, sqrt
from gramalign.geometry.tuples import inner_products, take_apart, unstack
from gramalign.scores.anchored_score import AnchoredScore
from gramalign.scores.products import product
from gramalign.scores.sides import rest
from gramalign.types import Embeddings, Present


class _Others(NamedTuple):
    vectors: tuple[Float[Array, "c d"], ...]
    there: tuple[Float[Array, " c"], ...]  # 1 or 0
    # Lower triangle, row by row, one number each: fused kernels do not take matrices.
    gram: tuple[tuple[Float[Array, " c"], ...], ...]


@dataclass(frozen=True)
class AggregateScore(AnchoredScore):
    """Cosine of the anchor with a sum of the others, weighted by a softmax of their cosines to it.

    Attributes:
        weight_temperature: temperature of that softmax.

    Raises:
        ValueError: for a temperature that is not positive.

    >>> import jax.numpy as jnp
    >>> emb = {"text": jnp.eye(2), "audio": jnp.eye(2), "noise": jnp.eye(2)[::-1]}
    >>> AggregateScore("text").matched(emb).round(4).tolist()
    [1.0, 1.0]
    """

    weight_temperature: float = 0.1

    def __post_init__(self):
        if not self.weight_temperature > 0:
            raise ValueError(f"weight_temperature must be positive, got {self.weight_temperature}")

    def columns(self, vectors: Float[Array, "b m d"], kept: Bool[Array, "b m"]) -> _Others:
        """The others, which of them are present, and the entries of their Gram matrix."""
        rows = take_apart(vectors, kept)
        table = [unstack(line, -1) for line in unstack(inner_products(rows), -2)]
        gram = tuple(tuple(line[: m + 1]) for m, line in enumerate(table))
        return _Others(tuple(rows), tuple(unstack(kept.astype(rows[0].dtype), 1)), gram)

    def tile(self, rows: Float[Array, "r d"], cols: _Others) -> Float[Array, "r c"]:
        """By k - 1 matrix products, then elementwise."""
        there, gram = jax.tree.map(lambda x: x[None], (cols.there, cols.gram))
        return self._aggregate([product(rows, x) for x in cols.vectors], there, gram)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """The same for corresponding rows and columns."""
        anchor = at_least_float32(self.rows(embeddings, present).factors)
        vectors, kept = rest(embeddings, present, "anchor", self.anchor)
        cosines = [jnp.sum(anchor * x, axis=-1) for x in take_apart(vectors, kept)]
        cols = self.cols(embeddings, present).factors
        return self._aggregate(cosines, cols.there, cols.gram)

    def _aggregate(self, cosines: Sequence, there: Sequence, gram: Sequence[Sequence]) -> Array:
        """The score, elementwise, from arrays of one rank."""
        pairs = list(zip(there, cosines, strict=True))
        # Scaling all weights does not change the score: they need the right size, not a sum of 1.
        known = jnp.stack([jnp.where(t > 0, c, -jnp.inf) for t, c in pairs])
        top = jax.lax.stop_gradient(jnp.max(known, axis=0))
        top = jnp.where(jnp.isneginf(top), 0, top)
        weights = [t * jnp.exp(t * (c - top) / self.weight_temperature) for t, c in pairs]
        total = sum(w * c for w, c in zip(weights, cosines, strict=True))
        square, largest = 0.0, 0.0
        for m, line in enumerate(gram):
            square += weights[m] * weights[m] * line[m]
            square += sum(2 * weights[m] * weights[n] * line[n] for n in range(m))
            largest += weights[m] * weights[m] * line[m]
        lost = square <= 4 * jnp.finfo(top.dtype).eps * largest
        return jnp.where(lost, 0, total / sqrt(jnp.where(lost, 1, square)))

"""Any Score between any two sets of modalities: those of the query and those of the gallery.

    one -> any           the Score itself, the one modality as its anchor
    any -> one           the same, turned round
    several -> several   of Scores to which the anchor is a modality like any other (volumes, the
                         leading singular value, the product), which have `of_tuples`: that of the
                         tuple which both sides make together. Of the others (cosine, aggregate,
                         height): the direction of the sum of the query's modalities is the anchor

The volume of two tuples together follows from their bases, Vol(A_i, B_j)^2 = c_i^2 d_j^2 det(I - M
M^T) with M = Q_i P_j^T, whose singular values are the cosines of the principal angles between the
spans: as many matrix products as there are pairs of modalities. The other Scores of a joined tuple
are computed tuple by tuple, at the accuracy of matched ones and at their cost.

Sources: volume, Cicchetti et al., ICLR 2025, arXiv 2412.11959; principal angles, Bjorck and Golub,
1973, doi 10.1090/S0025-5718-1973-0348991-3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry import orthonormal_basis
from gramalign.geometry.norms import sqrt
from gramalign.geometry.tuples import unstack
from gramalign.scores.named import ScoreLike, as_key, score_named
from gramalign.scores.product import ProductScore
from gramalign.scores.products import as_factor, product, rounding
from gramalign.scores.protocol import Side
from gramalign.scores.sides import centroid, check_modality, stack
from gramalign.scores.volume import VolumeScore
from gramalign.types import Embeddings, Present

_ANCHOR = "anchor"


class _Span(NamedTuple):
    basis: tuple[Float[Array, "n d"], ...]
    volume: Float[Array, " n"]


class _Tuples(NamedTuple):
    vectors: Float[Array, "n k d"]
    kept: Bool[Array, "n k"]


@dataclass(frozen=True)
class Between:
    """A Score whose rows are tuples of some modalities and whose columns are tuples of others.

    A missing modality is left out of its tuple; a side is valid where any modality is present.

    Attributes:
        score: one of `SCORE_NAMES`, with any settings, or your own class (`score_named`).
        query: modalities on the row side.
        gallery: modalities on the column side.

    Raises:
        TypeError: for anything but a Score.
        ValueError: for an unknown Score, a side without a modality, or one named twice or on both.

    >>> import jax.numpy as jnp
    >>> emb = {name: jnp.eye(3) for name in ("text", "audio", "video", "depth")}
    >>> score = Between("volume", ("text", "audio"), ("video", "depth"))
    >>> score.matched({**emb, "audio": jnp.eye(3)[::-1]}).tolist()
    [-0.0, -0.0, -0.0]
    """

    score: ScoreLike
    query: tuple[str, ...]
    gallery: tuple[str, ...]

    def __post_init__(self):
        score_named(self.score, _ANCHOR)
        object.__setattr__(self, "score", as_key(self.score))
        for argument, names in (("query", self.query), ("gallery", self.gallery)):
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"{argument} must name at least one modality, each once, got {list(names)}"
                )
        if both := sorted(set(self.query) & set(self.gallery)):
            raise ValueError(f"{both} are in query and gallery, and would match themselves")

    def rows(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Factors of the query's modalities; other modalities are ignored."""
        return self._side(embeddings, present, "query", self.query, self._turned)

    def cols(self, embeddings: Embeddings, present: Present | None = None) -> Side:
        """Factors of the gallery's modalities; other modalities are ignored."""
        return self._side(embeddings, present, "gallery", self.gallery, not self._turned)

    def tile(self, rows: Any, cols: Any) -> Float[Array, "r c"]:
        """Every query against every tuple of the gallery."""
        if self._turned:
            return self._inner.tile(cols, rows).T
        if not self._joined:
            return self._inner.tile(rows, cols)
        if self._by_bases:
            return -_joint_volume(rows, cols)
        if isinstance(self._inner, ProductScore):
            return self._inner.tile(rows, cols) * self._inner.of_all_scaled(rows.shape[-1])

        def of_one_row(row: tuple[Array, Array]) -> Array:
            vectors, kept = (
                jnp.broadcast_to(x[None], (y.shape[0], *x.shape))
                for x, y in zip(row, cols, strict=True)
            )
            vectors = jnp.concatenate([vectors, cols.vectors], axis=1)
            return self._inner.of_tuples(vectors, jnp.concatenate([kept, cols.kept], axis=1))

        return jax.lax.map(of_one_row, rows)

    def matched(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> Float[Array, " batch"]:
        """Query i with tuple i of the gallery, to full precision."""
        query, gallery = (stack(embeddings, present, names) for names in (self.query, self.gallery))
        if self._joined:
            whole = [jnp.concatenate(both, axis=1) for both in zip(query, gallery, strict=True)]
            return self._inner.of_tuples(*whole)
        one, others = (gallery, query) if self._turned else (query, gallery)
        named, masks = _named(*others)
        anchor, masks[_ANCHOR] = _direction(*one)
        return self._inner.matched(named | {_ANCHOR: anchor}, masks)

    @property
    def _inner(self) -> Any:
        return score_named(self.score, _ANCHOR)

    @property
    def _by_bases(self) -> bool:
        """Whether a joined tuple's score follows from the bases of both sides."""
        return isinstance(self._inner, VolumeScore) and self._inner.form == "volume"

    @property
    def _turned(self) -> bool:
        """Whether the gallery's only modality is the anchor."""
        return len(self.gallery) == 1 < len(self.query)

    @property
    def _joined(self) -> bool:
        """Whether the score is that of the joined tuple of both sides."""
        several = len(self.query) > 1 and len(self.gallery) > 1
        return several and hasattr(self._inner, "of_tuples")

    def _side(
        self,
        embeddings: Embeddings,
        present: Present | None,
        argument: str,
        names: Sequence[str],
        of_others: bool,
    ) -> Side:
        for name in names:
            check_modality(argument, name, embeddings)
        vectors, kept = stack(embeddings, present, names)
        valid = jnp.any(kept, axis=1)
        if self._joined:
            return Side(self._joint_factors(vectors, kept), valid)
        if of_others:
            named, masks = _named(vectors, kept)
            # The others' factors do not depend on the anchor, but the Score requires one.
            return self._inner.cols({_ANCHOR: vectors[:, 0], **named}, masks)
        anchor, there = _direction(vectors, kept)
        named = {_ANCHOR: as_factor(anchor, vectors.dtype), "other": vectors[:, 0]}
        return self._inner.rows(named, {_ANCHOR: there})

    def _joint_factors(self, vectors: Float[Array, "n k d"], kept: Bool[Array, "n k"]) -> Any:
        if self._by_bases:
            span = orthonormal_basis(vectors, kept)
            basis = (as_factor(x, vectors.dtype) for x in unstack(span.vectors, 1))
            return _Span(tuple(basis), span.volume)
        if isinstance(self._inner, ProductScore):
            return as_factor(self._inner.columns(vectors, kept), vectors.dtype)
        return _Tuples(vectors, kept)


def _named(
    vectors: Float[Array, "n k d"], kept: Bool[Array, "n k"]
) -> tuple[dict[str, Array], dict[str, Array]]:
    names = [f"other {place}" for place in range(vectors.shape[1])]
    parts, masks = unstack(vectors, 1), unstack(kept, 1)
    return dict(zip(names, parts, strict=True)), dict(zip(names, masks, strict=True))


def _direction(
    vectors: Float[Array, "n k d"], kept: Bool[Array, "n k"]
) -> tuple[Float[Array, "n d"], Bool[Array, " n"]]:
    """A single modality as it is; for several, their normalised sum."""
    if vectors.shape[1] == 1:
        return vectors[:, 0], kept[:, 0]
    return centroid(vectors, kept)


def _joint_volume(rows: _Span, cols: _Span) -> Float[Array, "r c"]:
    """Volumes of every row's tuple joined with every column's."""
    if len(rows.basis) > len(cols.basis):
        return _joint_volume(cols, rows).T
    cosines = [[product(q, p) for p in cols.basis] for q in rows.basis]
    noise = 4 * max(rounding(rows.basis[0], cols.basis[0]), rounding(cols.basis[0], rows.basis[0]))
    # Cholesky of I - M M^T, all tuples at once: pivot n is the squared distance of the row's n-th
    # direction from the span of the column and of the directions before it.
    factor: list[list[Array]] = []
    square = jnp.ones((), cosines[0][0].dtype)
    for n, line in enumerate(cosines):
        entries = []
        for m in range(n + 1):
            entry = float(n == m) - sum(a * b for a, b in zip(line, cosines[m], strict=True))
            # Stops at the shorter of the two.
            before = zip(entries, factor[m] if m < n else entries, strict=False)
            entry -= sum(a * b for a, b in before)
            if m < n:
                pivot = factor[m][m]
                entries.append(jnp.where(pivot == 0, 0, entry / jnp.where(pivot == 0, 1, pivot)))
            else:
                far = entry > noise
                square *= jnp.where(far, entry, 0)
                entries.append(sqrt(jnp.where(far, entry, 0)))
        factor.append(entries)
    return rows.volume[:, None] * cols.volume[None, :] * sqrt(square)

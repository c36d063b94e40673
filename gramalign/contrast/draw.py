"""Hard negatives: for every row a column that fits it well but is not its own, and vice versa.

A draw from the softmax of a row's scores is the largest of its scores plus Gumbel noise, so one
column is found as the best one is: in tiles, without the score matrix. The noise of a pair is a
hash of its two numbers, the same on whatever device and in whatever tile they meet.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from gramalign.contrast.blocks import check_groups, check_sides, own_numbers
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.retrieval import top_k
from gramalign.contrast.tile import scores_of
from gramalign.mesh import AxisName
from gramalign.scores import Side, Tiled
from gramalign.types import Groups


def hard_negatives(
    score: Tiled,
    rows: Side,
    cols: Side,
    *,
    scale: Float[Array, ""] | float = 1.0,
    key: PRNGKeyArray | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """A negative column for every row, and a negative row for every column.

    Args:
        score: the Score of rows against columns.
        rows: the row side, `score.rows(...)`.
        cols: the column side of the same examples.
        scale: a column is drawn with a probability proportional to exp(scale * score).
        key: to draw with, the same on all devices; None: the negative with the highest score.
        groups: members of one group are never each other's negatives; None: an example alone is a
            group.
        axis_name: inside `jax.shard_map`, the mesh axis that both sides are split over; negatives
            are then from all devices, whose examples are numbered consecutively.
        engine: how pairs are computed; it changes results only where rounding does.

    Returns:
        Numbers of columns `[batch]` and of rows `[batch]`; -1 where an example is not valid, or has
        no negative. Nothing is differentiated.

    Raises:
        ValueError: for sizes that differ, empty sides or bad groups.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.eye(3), "b": jnp.array([[0.0, 0.6, 0.8], [1, 0, 0], [0, 0, 1]])}
    >>> score = CosineScore("a", "b")
    >>> [x.tolist() for x in hard_negatives(score, score.rows(emb), score.cols(emb))]
    [[1, 0, 0], [2, 0, 0]]
    """
    size, _ = check_sides(rows, cols, square=True, axis_name=axis_name)
    numbers = own_numbers(size, axis_name)
    group = numbers if groups is None else check_groups(groups, size)
    scales = jnp.broadcast_to(jnp.asarray(scale, jnp.float32), (size,))

    def best(ours: Side, theirs: Side, flipped: bool) -> Int[Array, " batch"]:
        ours, theirs = (
            jax.lax.stop_gradient(Side((x.factors, scales, group, numbers), x.valid))
            for x in (ours, theirs)
        )
        own = None if key is None else jax.random.fold_in(key, flipped)
        noisy = _Noisy(score, own, flipped)
        found = top_k(noisy, ours, theirs, 1, axis_name=axis_name, engine=engine)[1]
        return found[:, 0]

    return best(rows, cols, False), best(cols, rows, True)


@dataclass(frozen=True, eq=False)
class _Noisy:
    """Scaled scores with Gumbel noise, -inf within a group; `flipped`: of columns against rows."""

    score: Tiled
    key: PRNGKeyArray | None
    flipped: bool

    def tile(self, rows: Any, cols: Any) -> Float[Array, "r c"]:
        (ours, scales, group, numbers), (theirs, _, their_group, their_numbers) = rows, cols
        if self.flipped:
            scores = scores_of(self.score, theirs, ours).T
        else:
            scores = scores_of(self.score, ours, theirs)
        scores = scores * scales[:, None].astype(scores.dtype)
        if self.key is not None:
            scores = scores + _gumbel(self.key, numbers, their_numbers).astype(scores.dtype)
        return jnp.where(group[:, None] == their_group[None, :], -jnp.inf, scores)


def _gumbel(key: PRNGKeyArray, rows: Int[Array, " r"], cols: Int[Array, " c"]) -> Array:
    """Gumbel noise that a pair's numbers determine, `[r, c]`.

    Each number gets random words of its own. What two of them make of a pair is mixed as murmur3
    finishes its hashes: a JAX key for every pair would take several times as long.
    """

    def words(side: int, numbers: Int[Array, " n"]) -> UInt32[Array, "2 n"]:
        own = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, side), numbers)
        return jax.vmap(lambda one: jax.random.bits(one, (2,)))(own).T

    (first, second), (third, fourth) = words(0, rows), words(1, cols)
    mixed = _mixed(first[:, None] ^ third[None, :])
    return _noise(_mixed(mixed + second[:, None] + fourth[None, :]))


def _mixed(x: UInt32[Array, "r c"]) -> UInt32[Array, "r c"]:
    """Every bit of the result depends on all of a word's."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _noise(words: UInt32[Array, "r c"]) -> Float[Array, "r c"]:
    """Gumbel noise of uniform words, from -2.8 to 22.9.

    Large noise, which decides, comes of small words, whose digits a float keeps: among many columns
    the largest would otherwise tie.
    """
    uniform = jnp.minimum((words.astype(jnp.float32) + 0.5) / 2.0**32, 1 - 2**-24)
    return -jnp.log(-jnp.log1p(-uniform))

"""Columns made of two parts, each of another example: all N^2 of them, in N rounds of N.

In round t part j is joined with partner j + t, counted round the batch. A round's columns exist
while rows meet them, forward and once more backward, so memory grows with N and not with its
square. On a mesh the parts are exchanged, once for all rounds, and each device holds all partners
while they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from gramalign.contrast.blocks import NOBODY, Block
from gramalign.contrast.tile import no_slopes
from gramalign.geometry.norms import at_least_float32

Join = Callable[[PyTree, PyTree], PyTree]
"""From the factors of parts, and of as many partners, to those of columns; elementwise."""


@dataclass(frozen=True)
class Rounds:
    """What a visit of columns is made into: one of parts, in as many rounds as there are partners.

    Attributes:
        join: makes columns.
        partners: those of all devices, in the order of the parts' numbers.
    """

    join: Join
    partners: Block

    def meeting(self, meet: Callable) -> Callable:
        """From what rows gather of some columns to what they gather of all that parts go into."""

        def visit(stats: Any, parts: Block, _: None) -> tuple[Any, None]:
            def one_round(stats: Any, shift: Array) -> tuple[Any, None]:
                return meet(stats, self._columns(parts, self._at(parts, shift)), None)

            return jax.lax.scan(one_round, stats, self._shifts())

        return visit

    def deriving(self, derive: Callable) -> Callable:
        """The same of derivatives, with those by all partners' factors beside those that stay."""

        def visit(stay: tuple, parts_and_none: tuple, d_parts: PyTree) -> tuple[tuple, PyTree]:
            parts, _ = parts_and_none

            def one_round(derivatives: tuple, shift: Array) -> tuple[tuple, None]:
                stay, *sums = derivatives
                at = self._at(parts, shift)
                columns = self._columns(parts, at)
                stay, slopes = derive(stay, (columns, None), no_slopes(columns.factors))
                slopes = jax.tree.map(lambda d, x: d.astype(x.dtype), slopes, columns.factors)
                joined = partial(self._joined, at=at)
                _, transpose = jax.vjp(joined, parts.factors, self.partners.factors)
                more = jax.tree.map(at_least_float32, [*transpose(slopes)])
                return (stay, *jax.tree.map(jnp.add, sums, more)), None

            stay, d_partners = stay
            start = stay, d_parts, d_partners
            (stay, d_parts, d_partners), _ = jax.lax.scan(one_round, start, self._shifts())
            return (stay, d_partners), d_parts

        return visit

    def _shifts(self) -> Int[Array, " n"]:
        return jnp.arange(self.partners.valid.shape[0], dtype=jnp.int32)

    def _at(self, parts: Block, shift: Int[Array, ""]) -> Int[Array, "blocks tile"]:
        if parts.number is None:
            raise TypeError("parts of columns have no numbers: give them to split")
        return (parts.number + shift) % self.partners.valid.shape[0]

    def _joined(self, parts: PyTree, partners: PyTree, at: Int[Array, "blocks tile"]) -> PyTree:
        return self.join(parts, jax.tree.map(lambda x: x[at], partners))

    def _columns(self, parts: Block, at: Int[Array, "blocks tile"]) -> Block:
        """A column of one group's parts is of that group, any other is nobody's.

        It is valid if both parts are; of an example's own two, one is enough.
        """
        partner = jax.tree.map(lambda x: x[at], self.partners._replace(factors=None))
        own = parts.number == partner.number
        valid = (parts.valid & partner.valid) | own & (parts.valid | partner.valid)
        group = jnp.where(parts.group == partner.group, parts.group, NOBODY)
        return Block(self._joined(parts.factors, self.partners.factors, at), valid, group)

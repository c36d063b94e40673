"""Columns made of two parts from any two examples: all N^2 of them, in N rounds of N.

In each round every part is joined with a different partner, and in the next with that partner's
neighbour. A round's columns exist only while rows meet them, once forward and once backward, so
memory grows with N, not with its square. On a mesh, all devices' partners are exchanged as well, at
every visit of parts: on a ring, partners go all the way round while the parts stay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from gramalign.contrast.blocks import NOBODY, Block
from gramalign.contrast.exchange import Axis, exchange, sums
from gramalign.contrast.tile import no_slopes
from gramalign.geometry.norms import at_least_float32

Join = Callable[[PyTree, PyTree], PyTree]
"""From the factors of parts and of as many partners to those of columns; elementwise."""


@dataclass(frozen=True)
class Rounds:
    """Turns a visit of columns into one of parts, in as many rounds as there are partners.

    Attributes:
        join: makes columns of parts and partners.
        partners: this device's, stacked blocks.
        axis: the mesh axis over which they are exchanged.
    """

    join: Join
    partners: Block
    axis: Axis | None

    def meeting(self, meet: Callable) -> Callable:
        """Extend a function that gathers from given columns to all columns of given parts."""

        def visit(stats: Any, parts: Block, _: None) -> tuple[Any, None]:
            def meet_partners(stats: Any, partners: Block, _: None) -> tuple[Any, None]:
                joined = _Joined(self.join, parts, partners)

                def one_round(stats: Any, shift: Array) -> tuple[Any, None]:
                    return meet(stats, joined.columns(shift), None)

                return jax.lax.scan(one_round, stats, joined.shifts())

            return exchange(meet_partners, stats, self.partners, self.axis)

        return visit

    def deriving(self, derive: Callable) -> Callable:
        """The same for derivatives; those by the partners' factors stay here as well."""

        def visit(stay: tuple, parts_and_none: tuple, d_parts: PyTree) -> tuple[tuple, PyTree]:
            parts, _ = parts_and_none

            def derive_partners(
                stay: tuple, partners: Block, d_partners: PyTree
            ) -> tuple[tuple, PyTree]:
                joined = _Joined(self.join, parts, partners)

                def one_round(derivatives: tuple, shift: Array) -> tuple[tuple, None]:
                    stay, *so_far = derivatives
                    columns = joined.columns(shift)
                    stay, slopes = derive(stay, (columns, None), no_slopes(columns.factors))
                    slopes = jax.tree.map(lambda d, x: d.astype(x.dtype), slopes, columns.factors)
                    more = joined.slopes(shift, slopes)
                    return (stay, *jax.tree.map(jnp.add, so_far, more)), None

                start = *stay, d_partners
                (held, d_parts, d_partners), _ = jax.lax.scan(one_round, start, joined.shifts())
                return (held, d_parts), d_partners

            stay, d_partners = stay
            (stay, d_parts), more = exchange(
                derive_partners,
                (stay, d_parts),
                self.partners,
                self.axis,
                sums(lambda partners: no_slopes(partners.factors)),
            )
            return (stay, jax.tree.map(jnp.add, d_partners, more)), d_parts

        return visit


@dataclass(frozen=True)
class _Joined:
    """Some parts and some partners, both as stacked blocks."""

    join: Join
    parts: Block
    partners: Block

    def shifts(self) -> Int[Array, " n"]:
        """One for each round."""
        return jnp.arange(self.partners.valid.size, dtype=jnp.int32)

    def columns(self, shift: Int[Array, ""]) -> Block:
        """The columns of a round; one whose parts share a group is in it, any other in none.

        A column is valid if both its parts are; for an example's own two parts, one is enough.
        """
        parts = self.parts
        partner = jax.tree.map(partial(self._chosen, shift), self.partners._replace(factors=None))
        own = parts.numbers() == partner.numbers()
        valid = (parts.valid & partner.valid) | own & (parts.valid | partner.valid)
        group = jnp.where(parts.group == partner.group, parts.group, NOBODY)
        return Block(self._factors(shift, parts.factors, self.partners.factors), valid, group)

    def slopes(self, shift: Int[Array, ""], columns: PyTree) -> list[PyTree]:
        """Derivatives by the parts' and by the partners' factors, from those by the columns'."""
        factors = partial(self._factors, shift)
        _, transpose = jax.vjp(factors, self.parts.factors, self.partners.factors)
        return jax.tree.map(at_least_float32, [*transpose(columns)])

    def _factors(self, shift: Int[Array, ""], parts: PyTree, partners: PyTree) -> PyTree:
        return self.join(parts, jax.tree.map(partial(self._chosen, shift), partners))

    def _chosen(self, shift: Int[Array, ""], x: Array) -> Array:
        x = x.reshape(-1, *x.shape[2:])
        return x[(self.parts.numbers() + shift) % x.shape[0]]

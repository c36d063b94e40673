"""Statistics that every row (or column) gathers from its logits, tile by tile.

A statistic is a function of all logits of a row that can be accumulated in any order: softmax
losses need log-sum-exps, sigmoid losses sums of softplus. The engine never looks inside them; a new
kind of loss is a new statistic here.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gramalign.contrast.blocks import Block, competing, mates, others
from gramalign.mesh import AxisName


@runtime_checkable
class Statistic(Protocol):
    """What is gathered, and how it is differentiated; a small hashable value."""

    def start(self, zeros: Float[Array, "*n"]) -> Any:
        """The initial value, for each example."""
        ...

    def measure(self, logits: Float[Array, "r c"], row: Block, col: Block, axis: int) -> Any:
        """The statistic of one tile, along an axis of it."""
        ...

    def join(self, a: Any, b: Any) -> Any:
        """The statistic of two parts together."""
        ...

    def scatter(self, everywhere: Any, axis_name: AxisName) -> Any:
        """Join each device's statistics of all columns, on the device that owns the columns."""
        ...

    def finish(self, running: Any) -> Any:
        """The final statistic: a named tuple of arrays `[...]`."""
        ...

    def outcome(self, finished: Any, cotangent: Any) -> Any:
        """What `slope` needs of each example: arrays `[...]`."""
        ...

    def slope(
        self, logits: Float[Array, "r c"], row: Block, by_row: Any, col: Block, by_col: Any | None
    ) -> Float[Array, "r c"]:
        """Derivatives by a tile's logits, through its rows and (unless None) its columns."""
        ...


class Targets(NamedTuple):
    """Sum and number of the logits that a target is spread over."""

    total: Float[Array, "*n"]
    count: Int[Array, "*n"]


class LogSumExps(NamedTuple):
    """Log-sum-exp of the competitors' logits, and the targets' sums if requested."""

    logsumexp: Float[Array, "*n"]
    targets: Targets | None


class _Running(NamedTuple):
    """A log-sum-exp in progress, of exp(largest) * sum, with the targets beside it."""

    largest: Float[Array, "*n"]
    sum: Float[Array, "*n"]
    targets: Targets | None


class _LogSumExpOutcome(NamedTuple):
    logsumexp: Float[Array, "*n"]
    d_logsumexp: Float[Array, "*n"]
    d_total: Float[Array, "*n"] | None


@dataclass(frozen=True)
class LogSumExp:
    """For softmax losses: log sum_j exp(l_ij) and, if requested, sum_j l_ij and the number of j.

    Attributes:
        targets: the logits whose sum and number are gathered too: "competitors", or "group", whose
            members are then each other's positives and compete as all others do; None: none, which
            saves every tile two sums along either axis.
    """

    targets: Literal["competitors", "group"] | None = None

    def _against(self, row: Block, col: Block) -> Bool[Array, "r c"]:
        return others(row, col) if self.targets == "group" else competing(row, col)

    def _summed(self, row: Block, col: Block) -> Bool[Array, "r c"]:
        return mates(row, col) if self.targets == "group" else competing(row, col)

    def start(self, zeros: Float[Array, "*n"]) -> _Running:  # noqa: D102
        targets = None if self.targets is None else Targets(zeros, zeros.astype(jnp.int32))
        return _Running(zeros - jnp.inf, zeros, targets)

    def measure(  # noqa: D102
        self, logits: Float[Array, "r c"], row: Block, col: Block, axis: int
    ) -> _Running:
        # The logit of an example that does not compete, such as the match, may be so much larger
        # that its exponential is infinite, and NaN in a second derivative.
        masked = jnp.where(self._against(row, col), logits, -jnp.inf)
        largest = jnp.max(masked, axis=axis)
        shift = jnp.expand_dims(_finite_or_zero(largest), axis)
        total = jnp.sum(jnp.exp(masked - shift), axis=axis)
        targets = None
        if self.targets is not None:
            summed = self._summed(row, col)
            targets = Targets(
                jnp.sum(jnp.where(summed, logits, 0), axis=axis),
                jnp.sum(summed, axis=axis, dtype=jnp.int32),
            )
        return _Running(largest, total, targets)

    def join(self, a: _Running, b: _Running) -> _Running:  # noqa: D102
        largest = jnp.maximum(a.largest, b.largest)
        shift = _finite_or_zero(largest)
        total = a.sum * jnp.exp(a.largest - shift) + b.sum * jnp.exp(b.largest - shift)
        return _Running(largest, total, jax.tree.map(jnp.add, a.targets, b.targets))

    def scatter(self, everywhere: _Running, axis_name: AxisName) -> _Running:  # noqa: D102
        # Subtracting the same number on all devices cancels out, in derivatives too: so it needs no
        # derivative, and JAX has none for pmax.
        largest = jax.lax.pmax(jax.lax.stop_gradient(everywhere.largest), axis_name)
        scaled = everywhere.sum * jnp.exp(everywhere.largest - _finite_or_zero(largest))
        parts = scaled, everywhere.targets
        sums, targets = jax.lax.psum_scatter(parts, axis_name, tiled=True)
        blocks = sums.shape[0]
        place = jax.lax.axis_index(axis_name) * blocks
        return _Running(jax.lax.dynamic_slice_in_dim(largest, place, blocks), sums, targets)

    def finish(self, running: _Running) -> LogSumExps:
        """The log-sum-exp is -inf where there is no competitor."""
        none = running.sum <= 0  # not > 0: NaN is no absence of competitors
        logsumexp = running.largest + jnp.log(jnp.where(none, 1, running.sum))
        return LogSumExps(jnp.where(none, -jnp.inf, logsumexp), running.targets)

    def outcome(  # noqa: D102
        self, finished: LogSumExps, cotangent: LogSumExps
    ) -> _LogSumExpOutcome:
        d_total = None if cotangent.targets is None else cotangent.targets.total
        return _LogSumExpOutcome(finished.logsumexp, cotangent.logsumexp, d_total)

    def slope(
        self,
        logits: Float[Array, "r c"],
        row: Block,
        by_row: _LogSumExpOutcome,
        col: Block,
        by_col: _LogSumExpOutcome | None,
    ) -> Float[Array, "r c"]:
        """dl_ij = g_row_i exp(l_ij - row_i) + g_col_j exp(l_ij - col_j), and by the sums."""
        shares = _share(logits, by_row.logsumexp[:, None]) * by_row.d_logsumexp[:, None]
        if by_col is not None:
            shares += _share(logits, by_col.logsumexp[None, :]) * by_col.d_logsumexp[None, :]
        slopes = jnp.where(self._against(row, col), shares, 0)
        if by_row.d_total is None:
            return slopes
        totals = by_row.d_total[:, None]
        if by_col is not None and by_col.d_total is not None:
            totals += by_col.d_total[None, :]
        return slopes + jnp.where(self._summed(row, col), totals, 0)


class SoftplusSums(NamedTuple):
    """Sum of log(1 + exp(l)) over the competitors' logits."""

    sum: Float[Array, "*n"]


@dataclass(frozen=True)
class SoftplusSum:
    """For sigmoid losses: sum_j -log(1 - sigmoid(l_ij)) over the competitors j."""

    def start(self, zeros: Float[Array, "*n"]) -> SoftplusSums:  # noqa: D102
        return SoftplusSums(zeros)

    def measure(  # noqa: D102
        self, logits: Float[Array, "r c"], row: Block, col: Block, axis: int
    ) -> SoftplusSums:
        penalties = jnp.where(competing(row, col), jax.nn.softplus(logits), 0)
        return SoftplusSums(jnp.sum(penalties, axis=axis))

    def join(self, a: SoftplusSums, b: SoftplusSums) -> SoftplusSums:  # noqa: D102
        return SoftplusSums(a.sum + b.sum)

    def scatter(self, everywhere: SoftplusSums, axis_name: AxisName) -> SoftplusSums:  # noqa: D102
        return SoftplusSums(jax.lax.psum_scatter(everywhere.sum, axis_name, tiled=True))

    def finish(self, running: SoftplusSums) -> SoftplusSums:  # noqa: D102
        return running

    def outcome(self, finished: SoftplusSums, cotangent: SoftplusSums) -> SoftplusSums:  # noqa: D102
        return cotangent

    def slope(
        self,
        logits: Float[Array, "r c"],
        row: Block,
        by_row: SoftplusSums,
        col: Block,
        by_col: SoftplusSums | None,
    ) -> Float[Array, "r c"]:
        """dl_ij = (g_row_i + g_col_j) sigmoid(l_ij)."""
        weight = by_row.sum[:, None] if by_col is None else by_row.sum[:, None] + by_col.sum[None]
        return jnp.where(competing(row, col), weight * jax.nn.sigmoid(logits), 0)


def _share(logits: Float[Array, "r c"], logsumexp: Array) -> Float[Array, "r c"]:
    """exp(logits - logsumexp), harmless where there is no competitor and the latter is -inf."""
    return jnp.exp(jnp.minimum(logits - jnp.where(jnp.isfinite(logsumexp), logsumexp, 0), 0))


def _finite_or_zero(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, 0)

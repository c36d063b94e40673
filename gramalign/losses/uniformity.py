"""Uniformity: how evenly each modality's embeddings are spread over the sphere.

    L = mean over modalities m of log mean_{i != j} exp( -t |x_m,i - x_m,j|^2 )

0 if all vectors coincide, about -2 t for an even spread in many dimensions. A modality has one
number for the whole batch: an example's value is the mean over the modalities it has.

Source: Wang and Isola, ICML 2020, arXiv 2005.10242, section 4.1; t = 2 there.
Needs: unit vectors; no anchor.
Cost: 2 B^2 d flops forward per modality, three times that with the gradient; memory O(B d).
Singular set: none; smooth everywhere.
Blind spot: which example is which: it aligns nothing.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.contrast.competition import among_themselves
from gramalign.geometry.norms import at_least_float32
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.participants import mean_over, participants
from gramalign.mesh import AxisName
from gramalign.scores import Side
from gramalign.scores.products import product
from gramalign.scores.sides import one
from gramalign.types import Embeddings, Groups, Present


@compiled("t", check=check_unit_rows)
def uniformity(
    embeddings: Embeddings,
    *,
    t: float = 2.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Uniformity of the batch, as the value of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        t: how fast the potential falls with the squared distance; positive.
        present: which examples have which modality.
        groups: one integer per example; examples with equal integers are no pair.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how all pairs are computed.

    Returns:
        `[batch]`: the mean over the modalities that an example has, where one without a pair counts
        as 0; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, a t that is not positive, or
            rows that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> both = {"text": jnp.eye(4), "audio": jnp.eye(4)}
    >>> uniformity(both).round(4).tolist()
    [-4.0, -4.0, -4.0, -4.0]
    """

    def of_one(name: str) -> Float[Array, " batch"]:
        takes = participants(embeddings, present, name)
        side = one(embeddings, present, "modality", name)._replace(valid=takes)
        value = spread(side, t=t, groups=groups, axis_name=axis_name, engine=engine)
        return jnp.where(takes, value, 0)

    return mean_over(embeddings, of_one, embeddings, present)


@dataclass(frozen=True)
class _Closeness:
    """Minus the squared distance."""

    def tile(self, rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
        x, y = at_least_float32(rows), at_least_float32(cols)
        lengths = jnp.sum(x * x, axis=-1)[:, None] + jnp.sum(y * y, axis=-1)[None, :]
        return 2 * product(rows, cols) - lengths


def spread(
    side: Side,
    *,
    t: float = 2.0,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, ""]:
    """Uniformity of one modality's unit vectors; 0 if there is no pair.

    Arguments and errors as in `uniformity`.
    """
    if not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    potential, targets = among_themselves(
        _Closeness(), side, t, groups=groups, axis_name=axis_name, engine=engine
    )
    there = targets.count > 0
    largest = jax.lax.stop_gradient(jnp.max(jnp.where(there, potential, -jnp.inf)))
    # Summed as floats: the pairs of 46341 examples overflow an int32.
    number = jnp.sum(targets.count.astype(potential.dtype))
    if axis_name is not None:
        largest, number = jax.lax.pmax(largest, axis_name), jax.lax.psum(number, axis_name)
    largest = jnp.where(jnp.isneginf(largest), 0, largest)
    total = jnp.sum(jnp.exp(potential - largest))
    if axis_name is not None:
        total = jax.lax.psum(total, axis_name)
    none = number == 0
    mean = jnp.where(none, 1, total) / jnp.where(none, 1, number)
    return jnp.log(mean) + largest

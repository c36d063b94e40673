"""Geometric consistency: two modalities put the examples into the same arrangement. CyCLIP's terms.

    L_i = mean over pairs (a, b) of sum over j of
          c (a_i.b_j - a_j.b_i)^2 + m (a_i.a_j - b_i.b_j)^2

c is the weight of consistency across modalities, m of that within them; j runs over the examples
that have both. As published, it is a sum over j: it grows with the batch.

With D = a - b and S = (a + b) / 2, the two differences are D_i.S_j -+ S_i.D_j. So for c = m the sum
is 4 c times that of (D_i.S_j)^2 over all i and j, and the sums over j are quadratic forms of d x d
matrices: nothing is ever computed for a pair of examples, and nothing cancels as a approaches b.

Source: Goel et al. (CyCLIP), NeurIPS 2022, arXiv 2205.14459, with weights of 0.25 beside the
contrastive loss; the same two terms in Jiang et al., CVPR 2023, arXiv 2303.05952.
Needs: unit vectors; k >= 2, all pairs.
Cost: k^2 B d^2; memory O(B k d + d^2).
Singular set: none; a polynomial.
Blind spot: reflections: b = -a, or a with some of its coordinates negated, is as consistent as b =
a. It aligns nothing by itself.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.moments import moment, quadratic
from gramalign.losses.participants import mean_over_pairs
from gramalign.mesh import AxisName, check_axis
from gramalign.types import Embeddings, Present


@compiled("cross_modal", "in_modal", check=check_unit_rows)
def consistency(
    embeddings: Embeddings,
    *,
    cross_modal: float = 1.0,
    in_modal: float = 1.0,
    present: Present | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, " batch"]:
    """Squared differences between the modalities' similarities, summed over the batch.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        cross_modal: weight of the differences between a_i.b_j and a_j.b_i, at least 0.
        in_modal: weight of those between a_i.a_j and b_i.b_j, at least 0.
        present: which examples have which modality.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, a negative weight, or rows
            that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> x, turned = jnp.eye(2), jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> consistency({"text": x, "audio": turned}).tolist()
    [4.0, 4.0]
    """
    if axis_name is not None:
        check_axis(axis_name, embeddings)

    def one(x: Array, y: Array, both: Array) -> Float[Array, " batch"]:
        apart = jnp.where(both[:, None], x - y, 0)
        middle = jnp.where(both[:, None], (x + y) / 2, 0)
        squares = quadratic(apart, moment(middle, middle, axis_name), apart)
        squares += quadratic(middle, moment(apart, apart, axis_name), middle)
        value = (cross_modal + in_modal) * squares
        if cross_modal != in_modal:
            crossed = quadratic(apart, moment(middle, apart, axis_name), middle)
            value += 2 * (in_modal - cross_modal) * crossed
        return value

    return mean_over_pairs(one, embeddings, present)

"""Symile: contrast of whole tuples with recombined ones, on the multilinear inner product.

    L_i = mean over anchors a of -log [ e_ii.. / (e_ii.. + sum over (j, k, ..) of e_jk..) ],
    e_jk.. = exp(sum_d a_i[d] b_j[d] c_k[d] .. / tau)

The anchor stays and the others vary, so that the loss bounds the total correlation: what all
modalities share, not only pairs of them. "shuffled" has as many combinations (j, k, ..) as there
are examples, with each modality shuffled separately; "all", for three modalities, has all N^2. A
combination wholly from one example, or one group, is no negative of that example or group; the
published code instead omits the column with the example's own index, whatever was shuffled into it.
So with two modalities "shuffled" is CLIP on that pair.

Without a key, modalities are shifted cyclically, each by one place more than the one before it by
name: in a randomly drawn batch that is as random as any permutation. With a key, they are permuted
at random.

An absent modality is left out of a product, as in `gramalign.scores.ProductScore`. For an anchor,
only examples that have it and any other modality are recombined; the rest might as well not be in
the batch. With "shuffled", a product is over what its examples have. With "all", only combinations
whose two modalities are both present compete, and each example's own others as they are. A modality
that no example has might as well not be in the mapping (except that it counts in the shifts).

Source: Saporta et al., NeurIPS 2024, arXiv 2411.01053; `scaled`: Rheude et al., 2026, arXiv
2604.05834.
Needs: no anchor; k >= 2 modalities, exactly three for "all".
Cost: per anchor 2 N^2 d flops forward, or 2 N^3 d for "all", and four times that with the gradient;
memory O(N k d) either way. On a ring, N counts a device's own examples; of the whole batch it holds
a bool and an integer per example, and with groups or a key one integer more.
Singular set: none; smooth everywhere.
Blind spot: that of the product (`gramalign.scores.product`).
"""

import operator
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.contrast.blocks import check_groups, check_sides, counted_from_0, own_numbers
from gramalign.contrast.competition import Candidates, competition
from gramalign.contrast.statistics import LogSumExp
from gramalign.losses.compiled import check_key, check_unit_rows, compiled
from gramalign.losses.participants import mean_over, participants
from gramalign.losses.recombine import recombined
from gramalign.mesh import AxisName, varying_as
from gramalign.scores import ProductScore, Side
from gramalign.scores.product import neutral
from gramalign.scores.products import as_factor
from gramalign.scores.sides import mask_of
from gramalign.types import Embeddings, Groups, Present

Negatives = Literal["shuffled", "all"]


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    check_key(settings["key"])
    check_unit_rows(embeddings, settings)


@compiled("negatives", "scaled", check=_check)
def symile(
    embeddings: Embeddings,
    *,
    negatives: Negatives = "shuffled",
    temperature: Float[Array, ""] | float = 0.07,
    scaled: bool = False,
    present: Present | None = None,
    groups: Groups | None = None,
    key: PRNGKeyArray | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Symile loss of every example, the mean over every modality as the anchor.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        negatives: "shuffled", N combinations of the others; "all", N^2, for three modalities.
        temperature: of the softmax, a number or a learned scalar, as published.
        scaled: multiply products by dim^((k - 1) / 2), which makes them of order 1.
        present: which examples have which modality.
        groups: one integer per example; a combination wholly from one group is no negative of it.
        key: for "shuffled", to permute at random instead of shifting; the same on all devices.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all combinations are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which), and for one without negatives.

    Raises:
        ValueError: for fewer than two modalities, shapes that differ or an empty batch, for unknown
            `negatives`, for "all" without exactly three modalities or with a key, or for rows that
            are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> loss = symile({"text": eye, "audio": eye, "video": eye}, temperature=1.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + 4 * jnp.exp(-1.0))))
    True
    """
    if negatives not in get_args(Negatives):
        raise ValueError(f'negatives must be "shuffled" or "all", got {negatives!r}')
    if negatives == "all" and len(embeddings) != 3:
        raise ValueError(
            f'negatives="all" needs exactly three modalities, got {sorted(embeddings)}'
        )
    if negatives == "all" and key is not None:
        raise ValueError('negatives="all" draws nothing at random: leave key at None')
    names = list(embeddings)
    some = ProductScore(names[0]).rows(embeddings, present)
    size, _ = check_sides(some, some, square=True, axis_name=axis_name)
    numbers = own_numbers(size, axis_name)
    if groups is None:
        groups = numbers
    else:
        groups = counted_from_0(check_groups(groups, size), axis_name)

    def one(anchor: str) -> Float[Array, " batch"]:
        score = ProductScore(anchor, scaled)
        valid = participants(embeddings, present, anchor)
        kept = {m: valid & mask_of(embeddings, present, m) for m in names if m != anchor}
        partners = None
        if negatives == "all":
            cols, partners = (
                Candidates(_part(embeddings[m], mask, scaled), groups, numbers)
                for m, mask in kept.items()
            )
        else:
            own_key = None if key is None else jax.random.fold_in(key, names.index(anchor))
            cols = recombined(score, embeddings, kept, groups, own_key, axis_name, engine)
        matched = score.matched(embeddings, present)
        scale = varying_as(jnp.asarray(1 / temperature, matched.dtype), matched)
        others, _ = competition(
            score,
            LogSumExp(),
            Candidates(Side(score.rows(embeddings, present).factors, valid), groups),
            cols,
            scale,
            axis_name=axis_name,
            engine=engine,
            one_way=True,
            partners=partners,
            join=None if partners is None else operator.mul,
        )
        # As in `gramalign.contrast.softmax`: a loss near 0 would cancel in a difference.
        return jnp.where(valid, jax.nn.softplus(others.logsumexp - scale * matched), 0)

    return mean_over(names, one, embeddings, present)


def _part(vectors: Float[np.ndarray | Array, "b d"], kept: Bool[Array, " b"], scaled: bool) -> Side:
    """One modality as a factor of columns."""
    return Side(as_factor(neutral(vectors, kept, scaled), vectors.dtype), kept)

"""Matching: a head tells matched tuples from the hardest mismatched ones. GRAM's DAM, VAST's ITM.

    L = 1/3 [ BCE(h(a_i, m_i), 1) + BCE(h(a_i, m_j), 0) + BCE(h(a_l, m_i), 0) ]
    j ~ softmax_j s(a_i, m_j) / tau,   l ~ softmax_l s(a_l, m_i) / tau,   of other groups

h is a head such as `gramalign.models.MatchingHead`, s a Score; for each anchor, one mismatched
tuple of the others and one mismatched anchor are drawn. The others of a tuple are always of one
example. GRAM adds it to its contrast with a weight of 0.1, s being minus the volume, and re-ranks
by h. The published code adds 1e-4 to every probability of a draw, and trains h on other modalities
than it evaluates; its h sees the tokens of all modalities, not the embeddings.

Source: Cicchetti et al. (GRAM), ICLR 2025, arXiv 2412.11959, L_DAM; Chen et al. (VAST), NeurIPS
    2023, arXiv 2305.18500, and Li et al., NeurIPS 2021, arXiv 2107.07651, for matching with hard
    negatives.
Needs: a head; an anchor, or each in turn; k >= 2.
Cost: two passes over the scores of all pairs per anchor, without a gradient; the head on two tuples
    per anchor and one more, forward, again and backward; memory O(B k d).
Singular set: the head's.
Blind spot: the head's; by itself it says little of the space, whose cosines need not agree.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from gramalign.contrast import DEFAULT_ENGINE, Engine, hard_negatives, rows_at
from gramalign.geometry.norms import at_least_float32
from gramalign.losses.compiled import check_head, check_key, compiled
from gramalign.losses.participants import mean_over, participants
from gramalign.mesh import AxisName
from gramalign.scores import ScoreLike, score_named
from gramalign.scores.sides import check_modality, check_unit, mask_of
from gramalign.types import Embeddings, Groups, Present

Head = Callable[[Embeddings, Present], Float[Array, " batch"]]
"""From tuples and masks, of every modality, to a logit for each."""


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    check_head(settings.get("head"), "MatchingHead")
    check_key(settings["key"])
    check_unit(embeddings, settings["present"])


@compiled("score_of", check=_check)
def matching(
    embeddings: Embeddings,
    *,
    head: Head,
    anchor: str | None = "text",
    score_of: ScoreLike = "volume",
    temperature: Float[Array, ""] | float = 0.07,
    key: PRNGKeyArray | None = None,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Matching loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        head: called with tuples and masks of all modalities, returns a logit for each tuple. An
            `nnx.Module`, or any pytree, is differentiated too; pass a plain function as the same
            object at every call.
        anchor: the modality whose counterpart is mistaken; None: the mean over all.
        score_of: the Score by which negatives are hard, of an anchor against the tuple of the
            others, by name or class.
        temperature: of the softmax that negatives are drawn from; it has no derivative.
        key: to draw negatives with, the same on all devices; None: the very hardest.
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`, the mean over an example's matched tuple and its negatives, if any; 0 for an
        example that lacks the anchor or all the others (`participants` says which).

    Raises:
        TypeError: for a head that cannot be called.
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, a head
            that does not return one logit for each tuple, or rows that are neither of unit length
            nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> head = lambda e, present: 10 * jnp.sum(e["text"] * e["audio"], axis=1) - 5
    >>> eye = jnp.eye(4)
    >>> loss = matching({"text": eye, "audio": eye}, head=head)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-5.0))))
    True
    """
    names = list(embeddings)
    if anchor is not None:
        check_modality("anchor", anchor, embeddings)
    masks = {name: mask_of(embeddings, present, name) for name in names}

    everything = embeddings, masks

    def logits(tuples: tuple[Embeddings, Present]) -> Float[Array, " batch"]:
        found = head(*tuples)
        size = next(iter(masks.values())).shape
        if getattr(found, "shape", None) != size or not jnp.issubdtype(found.dtype, jnp.floating):
            kind = jax.typeof(found) if isinstance(found, jax.Array) else type(found).__name__
            raise ValueError(
                f"head must return one logit for each tuple, of shape {size}, got {kind}"
            )
        return at_least_float32(found)

    matched = jax.nn.softplus(-logits(everything))  # the same for every anchor

    def one(name: str) -> Float[Array, " batch"]:
        score = score_named(score_of, name, "score_of")
        others, counterparts = hard_negatives(
            score,
            score.rows(embeddings, present),
            score.cols(embeddings, present),
            scale=1 / temperature,
            key=None if key is None else jax.random.fold_in(key, names.index(name)),
            groups=groups,
            axis_name=axis_name,
            engine=engine,
        )
        mismatched = []
        for numbers, changed in ((others, [m for m in names if m != name]), (counterparts, [name])):
            taken = tuple({m: x[m] for m in changed} for x in everything)
            taken = rows_at(taken, numbers, axis_name=axis_name, engine=engine)
            mismatched.append(tuple(dict(x) | y for x, y in zip(everything, taken, strict=True)))
        # In a loop, or the hidden layers of all anchors would be kept for the backward pass.
        again = jax.checkpoint(logits, prevent_cse=False)
        found = jax.lax.map(again, jax.tree.map(lambda *x: jnp.stack(x), *mismatched))
        there = jnp.stack([others, counterparts]) >= 0
        total = matched + jnp.sum(jnp.where(there, jax.nn.softplus(found), 0), axis=0)
        mean = total / (1 + jnp.sum(there, axis=0, dtype=jnp.int32)).astype(total.dtype)
        return jnp.where(participants(embeddings, present, name), mean, 0)

    return mean_over(names if anchor is None else [anchor], one, embeddings, present)

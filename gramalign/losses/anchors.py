"""What many losses share: a Score with each anchor, or cosines pair by pair."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramalign.contrast import Engine, contrast
from gramalign.geometry.saved import SAVE
from gramalign.losses.participants import mean_of, mean_over, participants
from gramalign.mesh import AxisName
from gramalign.scores import SCORES, CosineScore, MixedScore, Score, ScoreLike, score_named
from gramalign.scores.anchored_score import AnchoredScore, SymmetricScore
from gramalign.scores.sides import check_modality, mask_of
from gramalign.types import Embeddings, Groups, Present

FEW_ANCHORS, FEW_PAIRS = 5, 10
"""Those of five modalities. Up to so many losses are unrolled into one program, which is faster on
a CPU; more would take minutes to compile, and the memory of all of them together."""


def softmax(
    temperature: Float[Array, ""] | float,
    label_smoothing: float,
    groups: Groups | None,
    axis_name: AxisName | None,
    engine: Engine,
) -> Callable[..., Float[Array, " batch"]]:
    """`contrast`, with all arguments bound but the Score, its sides and matched scores."""
    return partial(
        contrast,
        scale=1 / temperature,
        label_smoothing=label_smoothing,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )


def over_anchors(
    score_of: Callable[[str], Score],
    loss: Callable[..., Float[Array, " batch"]],
    embeddings: Embeddings,
    anchor: str | None,
    present: Present | None,
    **numbers: Any,
) -> Float[Array, " batch"]:
    """Loss of a Score that holds an anchor against the others, or its mean over all anchors.

    Args:
        score_of: the Score of an anchor.
        loss: takes a Score, its two sides and matched scores, as `softmax(...)` does.
        embeddings: by modality, `[batch, dim]`.
        anchor: a modality; None: each in turn, in a loop if there are more than `FEW_ANCHORS` and
            their Scores are gramalign's own and differ only in the anchor.
        present: which examples have which modality.
        **numbers: further arguments of the Score's `rows` and `matched`, which are differentiated
            too.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or all the others.

    Raises:
        ValueError: for an unknown anchor.
    """
    if anchor is not None:
        check_modality("anchor", anchor, embeddings)

    # The way from embeddings to factors is cheap beside the pairs: recompute, don't store.
    again = partial(jax.checkpoint, policy=SAVE)
    names = list(embeddings) if anchor is None else [anchor]
    scores = [score_of(name) for name in names]
    kinds = [_kind(score, name) for score, name in zip(scores, names, strict=True)]
    shared = {}
    for score, kind in zip(scores, kinds, strict=True):
        if kind is not None and kind not in shared and _is_symmetric(score):
            shared[kind] = again(score.matched)(embeddings, present, **numbers)

    def of(place: int, embeddings: Embeddings, present: Present | None) -> Array:
        score = scores[place]
        rows = score.rows(embeddings, present, **numbers)
        matched = shared.get(kinds[place])
        if matched is None:
            matched = again(score.matched)(embeddings, present, **numbers)
        return loss(score, rows, again(score.cols)(embeddings, present), matched)

    if len(names) <= FEW_ANCHORS or None in kinds or len(set(kinds)) > 1:

        def one(name: str) -> Array:
            return of(names.index(name), embeddings, present)

        return mean_over(names, one, embeddings, present)

    # The Scores differ only in the anchor: each modality in turn takes the first one's place.
    everyone = range(len(names))
    orders = jnp.array([[n, *(m for m in everyone if m != n)] for n in everyone])
    masks = [mask_of(embeddings, present, name) for name in names]
    everything = jnp.stack(list(embeddings.values())), jnp.stack(masks)

    def first(order: Int[Array, " k"]) -> Array:
        vectors, kept = (dict(zip(names, x[order], strict=True)) for x in everything)
        return of(0, vectors, kept if present else None)

    values = _loop(first, orders)
    return mean_of(values, jnp.stack([participants(embeddings, present, name) for name in names]))


def _kind(score: Score, name: str) -> Hashable:
    """Equal for Scores that know no modality by name but this anchor, and differ in nothing else.

    None for any other; a Score of your own may know whatever it likes.
    """
    if isinstance(score, MixedScore):
        kinds = tuple(_kind(part, name) for part in score.scores)
        return None if None in kinds else (score.weights, kinds)
    if score == CosineScore(name):
        return CosineScore("")
    if type(score) in SCORES.values() and isinstance(score, AnchoredScore) and score.anchor == name:
        return replace(score, anchor="")
    return None


def _is_symmetric(score: Score) -> bool:
    if isinstance(score, MixedScore):
        return all(map(_is_symmetric, score.scores))
    return isinstance(score, SymmetricScore)


def over_any(
    score_of: ScoreLike | None,
    loss: Callable[..., Float[Array, " batch"]],
    embeddings: Embeddings,
    anchor: str | None,
    present: Present | None,
) -> Float[Array, " batch"]:
    """`over_anchors` for a Score by name or class, or for None `over_pairs` of cosines."""
    if score_of is None:
        return over_pairs(loss, embeddings, pairs_of(embeddings, anchor), present)
    return over_anchors(
        lambda name: score_named(score_of, name, "score_of"), loss, embeddings, anchor, present
    )


def pairs_of(embeddings: Embeddings, anchor: str | None) -> list[tuple[str, str]]:
    """An anchor with every other modality, or for None all pairs of modalities.

    Raises:
        ValueError: for an unknown anchor.
    """
    if anchor is None:
        return list(combinations(embeddings, 2))
    check_modality("anchor", anchor, embeddings)
    return [(anchor, other) for other in embeddings if other != anchor]


def over_pairs(
    loss: Callable[..., Float[Array, " batch"]],
    embeddings: Embeddings,
    pairs: Iterable[tuple[str, str]],
    present: Present | None,
) -> Float[Array, " batch"]:
    """Mean of a loss of the cosine of two modalities over some pairs of them.

    Args:
        loss: of a Score, its sides and matched scores, as for `over_anchors`.
        embeddings: by modality, `[batch, dim]`.
        pairs: of modalities, such as `pairs_of` gives. More than `FEW_PAIRS` run in a loop, whose
            program is equally large for any number.
        present: which examples have which modality.

    Returns:
        `[batch]`; 0 for an example that has no such pair.
    """
    pairs = list(pairs)
    score = CosineScore("one", "other")

    def of_two(a: Any, b: Any, vectors: Any, masks: Any) -> Float[Array, " batch"]:
        two = {"one": vectors[a], "other": vectors[b]}
        kept = {"one": masks[a], "other": masks[b]} if present else None
        return loss(score, score.rows(two, kept), score.cols(two, kept), score.matched(two, kept))

    masks = {name: mask_of(embeddings, present, name) for name in embeddings}
    if len(pairs) <= FEW_PAIRS:
        values = jnp.stack([of_two(a, b, embeddings, masks) for a, b in pairs])
    else:
        order = list(embeddings)
        numbers = jnp.array([[order.index(a), order.index(b)] for a, b in pairs])
        everything = jnp.stack(list(embeddings.values())), jnp.stack(list(masks.values()))

        values = _loop(lambda pair: of_two(pair[0], pair[1], *everything), numbers)
    return mean_of(values, jnp.stack([masks[a] & masks[b] for a, b in pairs]))


def _loop(loss: Callable[[Int[Array, " n"]], Array], tasks: Int[Array, "tasks n"]) -> Array:
    """The loss of each task, one after another: the program does not grow with their number.

    For derivatives, a few numbers per example and task are stored; vectors are gathered again.
    """
    return jax.lax.map(jax.checkpoint(loss, policy=SAVE, prevent_cse=False), tasks)

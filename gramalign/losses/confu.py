"""ConFu: all pairs of modalities, and every fused pair with every modality outside it.

    L = 1/2 [ w mean_{m, n; o} c(f_mn, z_o) + (1 - w) mean_{m, n} c(z_m, z_n) ]
    c = symmetric InfoNCE of cosines,  f_mn = fusion of z_m and z_n

For three modalities, the only case in the paper, this is the published sum of six terms over 6. For
more, there are k - 2 times as many fused terms as pairs; taking two means keeps the meaning of w.
An example's means are over the terms that it has; one with two modalities has the pair alone, at
its usual weight. The published code can also drop random features before fusing, and at w = 0
divides by 3 instead of 6.

Source: Koutoupis et al., CVPR 2026, arXiv 2511.21331.
Needs: three modalities or more, and the fused embedding of every two, named as `fused_pairs` says.
Cost: k (k - 1)^2 B^2 d flops forward, four times that with the gradient; memory O(B k^2 d).
Singular set: none; smooth everywhere.
Blind spot: what a modality shares only with three others or more, taken together.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_pairs, softmax
from gramalign.losses.compiled import compiled
from gramalign.mesh import AxisName
from gramalign.scores.sides import check_unit, mask_of
from gramalign.types import Embeddings, Groups, Present

JOIN = "+"


def fused_pairs(modalities: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The fused embeddings that ConFu needs: their names, and which two modalities each joins.

    Names are in alphabetical order, because `jax.jit` sorts a mapping's keys.

    >>> fused_pairs("bac")
    {'a+b': ('a', 'b'), 'a+c': ('a', 'c'), 'b+c': ('b', 'c')}
    """
    return {JOIN.join(pair): pair for pair in combinations(sorted(modalities), 2)}


def lacking(fused: list[str], embeddings: Embeddings) -> ValueError:
    """The error to raise for missing fused embeddings."""
    return ValueError(
        f"embeddings lacks the fused {fused}, it holds {sorted(embeddings)}: make them from the "
        "others with gramalign.models.FusionHead"
    )


def _modalities_and_fused(
    embeddings: Embeddings,
) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """The modalities, and the fused pairs they need; raises `ValueError` unless all are there."""
    modalities = [name for name in embeddings if JOIN not in name]
    if len(modalities) < 3:
        raise ValueError(f"confu needs at least three modalities, got {sorted(modalities)}")
    fused = fused_pairs(modalities)
    missing = sorted(fused.keys() - embeddings.keys())
    if missing:
        raise lacking(missing, embeddings)
    strange = sorted(embeddings.keys() - fused.keys() - set(modalities))
    if strange:
        raise ValueError(f"embeddings holds {strange}, which are not pairs of {sorted(modalities)}")
    return modalities, fused


def _present(
    embeddings: Embeddings, present: Present | None, fused: Mapping[str, tuple[str, str]]
) -> Present:
    """The masks, with a fused entry present only where both of its modalities are."""
    masks = dict(present or {})
    for name, parts in fused.items():
        first, second = (mask_of(embeddings, present, part) for part in parts)
        masks[name] = mask_of(embeddings, present, name) & first & second
    return masks


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    _, fused = _modalities_and_fused(embeddings)
    check_unit(embeddings, _present(embeddings, settings["present"], fused))


@compiled(check=_check)
def confu(
    embeddings: Embeddings,
    *,
    fused_weight: Float[Array, ""] | float = 0.5,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """ConFu loss of every example.

    Args:
        embeddings: unit rows `[batch, dim]` by name: three modalities or more, and the fused
            embedding of every two of them, such as "audio+text", made by a `FusionHead`.
        fused_weight: share of the fused terms, in [0, 1].
        temperature: of the softmax, a number or a learned scalar (0.07 as published).
        label_smoothing: in [0, 1).
        present: which examples have which entry; a fused one needs both of its modalities.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` of the modalities alone says which).

    Raises:
        ValueError: for fewer than three modalities, a fused embedding that is missing or joins no
            two modalities, shapes that differ, or (checked on concrete arrays only) a weight
            outside [0, 1] or rows that are neither of unit length nor zero.

    >>> import jax.numpy as jnp
    >>> names = ["text", "audio", "video"]
    >>> emb = {name: jnp.eye(2) for name in [*names, *fused_pairs(names)]}
    >>> bool(jnp.allclose(confu(emb, temperature=1.0), jnp.log(1 + jnp.exp(-1.0)) / 2))
    True
    """
    modalities, fused = _modalities_and_fused(embeddings)
    masks = _present(embeddings, present, fused)
    outside = [
        (f, other) for f, parts in fused.items() for other in modalities if other not in parts
    ]
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    of_fused = over_pairs(loss, embeddings, outside, masks)
    of_pairs = over_pairs(loss, embeddings, combinations(modalities, 2), masks)
    return (fused_weight * of_fused + (1 - fused_weight) * of_pairs) / 2

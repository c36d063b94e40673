"""VAST: contrast of an anchor with one embedding that fuses all other modalities.

    L = 1/2 [ CE_j(<a_i, f_j> / tau) + CE_j(<a_j, f_i> / tau) ],   f = normalize(W [m_2; ..; m_k])

f is an entry of the embeddings like any other, made by `gramalign.models.FusionHead`; the loss is
that of CLIP between the two. The paper sums it over several sets of fused modalities, each with its
own head, and adds losses for matching and captioning. The published code detaches the embeddings
that it gathers from other devices; here gradients are complete.

Source: Chen et al., NeurIPS 2023, arXiv 2305.18500.
Needs: an anchor and a fused embedding of the others; any k.
Cost: 2 B^2 d flops forward, four times that with the gradient; memory O(B d).
Singular set: none; smooth everywhere.
Blind spot: the modalities themselves, which it compares neither with the anchor nor with each
    other: a fusion that uses one of them and ignores the rest is as good as any.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_pairs, softmax
from gramalign.losses.compiled import compiled
from gramalign.losses.confu import JOIN, lacking
from gramalign.mesh import AxisName
from gramalign.scores.sides import check_modality, check_unit
from gramalign.types import Embeddings, Groups, Present


def fused_rest(modalities: Iterable[str], anchor: str) -> str:
    """The name of the fused embedding of all modalities but the anchor.

    >>> fused_rest(["text", "video", "audio"], "text")
    'audio+video'
    """
    return JOIN.join(sorted(name for name in modalities if name != anchor))


def _pairs(embeddings: Embeddings, anchor: str | None, fused: str | None) -> list[tuple[str, str]]:
    """Every anchor with the fused embedding of the others."""
    modalities = [name for name in embeddings if JOIN not in name]
    if anchor is not None:
        check_modality("anchor", anchor, embeddings)
    elif fused is not None:
        raise ValueError(
            f"fused={fused!r} is made from all modalities but one anchor: give that anchor, or "
            "leave fused out"
        )
    elif not modalities:
        raise ValueError(f"embeddings holds only fused ones, no anchor: {sorted(embeddings)}")
    anchors = modalities if anchor is None else [anchor]
    pairs = [(name, fused_rest(modalities, name) if fused is None else fused) for name in anchors]
    for name, of_rest in pairs:
        if fused is None and of_rest not in embeddings:
            raise lacking([of_rest], embeddings)
        check_modality("fused", of_rest, embeddings)
        if name == of_rest:
            raise ValueError(
                f"fused is {fused!r}, the anchor itself: give the name that the others fuse to"
            )
    return pairs


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    """Check the unit length of anchors and fused entries only."""
    names = chain(*_pairs(embeddings, settings["anchor"], settings["fused"]))
    check_unit({name: embeddings[name] for name in names}, settings["present"])


@compiled("fused", check=_check)
def vast(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    fused: str | None = None,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """VAST loss of every example.

    Args:
        embeddings: unit rows `[batch, dim]` by name; those of the anchor and of the fused entry are
            used, others are allowed.
        anchor: the modality that is compared with the fused embedding of the others; None: the mean
            over all.
        fused: the name of the fused embedding; None: as `fused_rest` says, such as "audio+video".
        temperature: of the softmax, a number or a learned scalar (0.07 as published).
        label_smoothing: as published, 0.1.
        present: which examples have which entry; a `FusionHead` gives the mask of its own.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or the fused embedding and so takes no
        part.

    Raises:
        ValueError: for an unknown anchor or fused entry, one entry for both, a fused entry for all
            anchors, shapes that differ, or rows that are neither of unit length nor zero (checked
            on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> loss = vast({"text": eye, "all": eye}, fused="all", temperature=1.0, label_smoothing=0.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-1.0))))
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_pairs(loss, embeddings, _pairs(embeddings, anchor, fused), present)

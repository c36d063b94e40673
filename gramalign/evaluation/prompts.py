"""Classes named by prompts: each class is an anchor, ranked by a Score against a tuple.

    class of j = argmax_c score(prompt_c, tuple_j)

With prompts from elsewhere, such as texts that name the classes, this is zero-shot classification:
nothing was trained on the classes. With prompts from one modality of labelled training rows, each
class is the mean direction of its rows: a nearest-mean classifier across modalities.

Several prompts of a class are averaged: each is scaled to unit length, and then their sum.

Source: averaged prompts, Radford et al. (CLIP), ICML 2021, arXiv 2103.00020, section 3.1.4; classes
ranked by volume, Cicchetti et al. (GRAM), ICLR 2025, arXiv 2412.11959, on VGGSound.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from gramalign.evaluation.class_figures import ClassFigures, class_figures
from gramalign.evaluation.labelled import Label, Labelled, spelt
from gramalign.evaluation.retrieval import FUSED, all_but, anonymous, check_score
from gramalign.host_text import host_text
from gramalign.scores import SCORE_NAMES, Between, ScoreLike, name_of
from gramalign.unit_rows import unit_rows


@dataclass(frozen=True)
class Prompts:
    """A direction for each class.

    Attributes:
        modality: what the prompts are embedded from.
        classes: labels, sorted and unique.
        directions: float32 `[classes, dim]`, unit rows.
    """

    modality: str
    classes: Shaped[np.ndarray, " classes"]
    directions: Float[np.ndarray, "classes dim"]


def class_prompts(
    modality: str,
    embeddings: Float[np.ndarray | Array, "prompts dim"],
    labels: Shaped[np.ndarray | Array, " prompts"],
) -> Prompts:
    """One direction for each class, from one or several prompts.

    Args:
        modality: what the prompts are embedded from.
        embeddings: of the prompts, finite, of any norm.
        labels: the class that each prompt names.

    Returns:
        The mean direction of each class.

    Raises:
        ValueError: no prompt, one that is not finite, a class without a direction, or a different
            number of labels.

    >>> import numpy as np
    >>> found = class_prompts("text", np.array([[2.0, 0], [0, 1], [0, 3]]), np.array([7, 4, 4]))
    >>> found.classes.tolist(), found.directions.tolist()
    ([4, 7], [[0.0, 1.0], [1.0, 0.0]])
    """
    values, named = np.asarray(embeddings), host_text(labels)
    if values.ndim != 2 or named.shape != values.shape[:1]:
        raise ValueError(
            f"embeddings and labels: got shapes {values.shape} and {named.shape}, expected a row "
            f"and a label for each prompt of {modality}"
        )
    if not len(values):
        raise ValueError(f"embeddings: got no prompt of {modality}, expected one for each class")
    units = unit_rows(modality, values, np.ones(len(values), bool))
    classes, number = np.unique(named, return_inverse=True)
    total = np.zeros((len(classes), units.shape[1]))
    np.add.at(total, number, units)
    directions = unit_rows(modality, total, np.ones(len(classes), bool))
    if not (some := np.any(directions, axis=1)).all():
        raise ValueError(
            f"embeddings: the prompts of {modality} for {spelt(classes[~some])} have no direction: "
            "they are zeros, or cancel each other; give others"
        )
    return Prompts(modality, classes, directions)


def prompts_of(train: Labelled, modality: str) -> Prompts | None:
    """Prompts from the rows that have a modality: the mean direction of each class.

    Args:
        train: labelled rows.
        modality: of the prompts.

    Returns:
        The prompts of the classes that have such a row, None if there is no such row.
    """
    there = train.data.present[modality]
    if not there.any():
        return None
    return class_prompts(modality, train.data.embeddings[modality][there], train.labels[there])


def classify_by_prompts(
    test: Labelled,
    prompts: Prompts | None,
    *,
    score: ScoreLike,
    modality: str | None = None,
    majority: Label | None = None,
) -> ClassFigures:
    """Rank all classes for each tuple by a Score, and measure accuracy.

    Args:
        test: the rows to classify.
        prompts: one for each class; None: there are none, and no row counts.
        score: one of `SCORE_NAMES`, a class of Scores, or `FUSED`: the cosine with the embedding
            fused from all modalities but the prompts', or with that of the other modality if there
            is only one.
        modality: of the prompts, if `prompts` is None.
        majority: the most frequent training class, for the baseline.

    Returns:
        The figures.

    Raises:
        ValueError: an unknown score, no modality but the prompts', or prompts of another width.
    """
    check_score(score, fused=True)
    named = prompts.modality if prompts is not None else modality or ""
    names = all_but(test.modalities, named)
    if not names:
        raise ValueError(
            f"test: got no modality but the prompts', {named}; embed another one of the rows"
        )
    vectors = {name: test.data.embeddings[name] for name in names}
    masks = {name: test.data.present[name] for name in names}
    if score == FUSED and len(names) > 1:
        vectors, masks = _fused(test, named)
    width = next(iter(test.data.embeddings.values())).shape[1]
    if prompts is not None and prompts.directions.shape[1] != width:
        raise ValueError(
            f"prompts: got dim {prompts.directions.shape[1]}, expected that of the embeddings, "
            f"{width}; embed both with one model"
        )

    def scores(rows: slice) -> np.ndarray:
        assert prompts is not None
        between, roles = anonymous("cosine" if score == FUSED else score, [named], [*vectors])
        others = {roles[name]: jnp.asarray(x[rows]) for name, x in vectors.items()}
        there = {roles[name]: jnp.asarray(x[rows]) for name, x in masks.items()}
        of_classes = {roles[named]: jnp.asarray(prompts.directions)}
        return np.asarray(_tile(between, of_classes, others, there))

    choice = prompts is not None and len(prompts.classes) > 1
    return class_figures(
        scores if choice else None,
        test.labels[:0] if prompts is None else prompts.classes,
        test,
        np.any(list(masks.values()), axis=0),
        classifier="prompts",
        modalities=names,
        majority=majority,
        settings={},
        score=name_of(score),
        prompts=named,
    )


def _fused(
    test: Labelled, prompts: str
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """What a tuple was fused to; absent for a modality whose rest was not fused."""
    rest = all_but(test.modalities, prompts)
    if not test.data.fused:
        raise ValueError(
            f"score: got {FUSED!r} for {', '.join(rest)}, but none are fused; expected one of "
            f"{', '.join(SCORE_NAMES)}"
        )
    fused, there = test.data.fused_but(prompts)
    return {"fused": fused}, {"fused": there}


@partial(jax.jit, static_argnames="score")
def _tile(
    score: Between,
    prompts: Mapping[str, Float[Array, "classes d"]],
    tuples: Mapping[str, Float[Array, "rows d"]],
    present: Mapping[str, Bool[Array, " rows"]],
) -> Float[Array, "rows classes"]:
    return score.tile(score.rows(prompts).factors, score.cols(tuples, present).factors).T

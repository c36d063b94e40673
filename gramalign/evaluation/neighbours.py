"""Weighted nearest neighbours by cosine: does what lies close in the space have the same class?

    votes_c = sum over the k training rows nearest to x that are of class c of exp(<x, y> / tau)

Of rows at equal cosines, earlier rows are nearer. A class without a vote ties with all others that
have none.

Source: Z. Wu et al., CVPR 2018, arXiv 1805.01978, section 3.4, and its tau = 0.07; k = 20 after
Caron et al. (DINO), ICCV 2021, arXiv 2104.14294, section 4.1.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gramalign.contrast import top_k
from gramalign.evaluation.class_figures import ClassFigures, class_figures
from gramalign.evaluation.labelled import Labelled
from gramalign.scores import CosineScore, Side


def nearest_neighbours(
    train: Labelled,
    test: Labelled,
    modalities: Sequence[str],
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> ClassFigures:
    """Classify test rows by the votes of the training rows nearest to them.

    Exact, and in tiles: memory is linear in both numbers of rows. Training rows without any of the
    modalities have no vote.

    Args:
        train: the rows that vote.
        test: the rows to classify.
        modalities: those to compare by; for several, by the normalised sum of those present, which
            represents a tuple under the cosine Score.
        k: at most how many rows vote.
        temperature: tau; the lower, the more the very nearest weigh.

    Returns:
        The figures.

    Raises:
        ValueError: k below 1 or a temperature that is not positive.
    """
    if k < 1:
        raise ValueError(f"k: got {k}, expected at least 1")
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}, expected a positive number")
    there = train.there(modalities)
    classes = np.unique(train.labels[there])
    voters = min(int(k), int(there.sum()))
    scores = None
    if len(classes) > 1:
        # A mask and not fewer rows, so that one compilation serves all modalities.
        cosines, near = nearest(
            test.direction(modalities), train.direction(modalities), there, voters
        )
        exponents = cosines.astype(np.float64) / temperature
        voted = np.searchsorted(classes, train.labels[near])

        def votes(rows: slice) -> np.ndarray:
            # Their logarithms: at a low temperature exponentials overflow, or vanish and tie.
            some = exponents[rows].ravel()
            size = len(classes) * len(exponents[rows])
            place = (np.arange(0, size, len(classes))[:, None] + voted[rows]).ravel()
            largest = np.full(size, -np.inf)
            np.maximum.at(largest, place, some)
            sums = np.bincount(place, np.exp(some - largest[place]), size)
            with np.errstate(divide="ignore"):  # no vote has the logarithm -inf
                return (largest + np.log(sums)).reshape(-1, len(classes))

        scores = votes
    return class_figures(
        scores,
        classes,
        test,
        test.there(modalities),
        classifier="neighbours",
        modalities=tuple(modalities),
        majority=train.most_frequent,
        settings={"k": voters, "temperature": temperature},
    )


def nearest(
    queries: Float[np.ndarray, "n d"],
    gallery: Float[np.ndarray, "m d"],
    there: Bool[np.ndarray, " m"],
    k: int,
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    """Cosines and numbers of the k rows of a gallery that are nearest, of those that are there."""
    found = _nearest(jnp.asarray(queries), jnp.asarray(gallery), jnp.asarray(there), k)
    return np.asarray(found[0]), np.asarray(found[1])


@partial(jax.jit, static_argnames="k")
def _nearest(
    queries: Float[Array, "n d"], gallery: Float[Array, "m d"], there: Bool[Array, " m"], k: int
) -> tuple[Float[Array, "n k"], Int[Array, "n k"]]:
    rows = Side(queries, jnp.ones(queries.shape[0], bool))
    return top_k(CosineScore("query", "gallery"), rows, Side(gallery, there), k)

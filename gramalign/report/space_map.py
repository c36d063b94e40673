"""A map of the space: a point for every embedding, thin lines between those of one example."""

import importlib.util
import itertools
import os
from collections.abc import Sequence
from typing import Literal
from unittest.mock import patch

import numpy as np
from jaxtyping import Float
from matplotlib.collections import LineCollection
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from gramalign.report.blocks import Key, Plot
from gramalign.report.drawing import CLASSES, GREYS, MUTED, SIGNS, axes, colour
from gramalign.report.gathered import Gathered

EXAMPLES = 400
"""At most so many are shown: more would hide each other."""
JOINED = 40
"""At most so many have their embeddings joined by lines."""
_VECTORS = 1600  # points; more are drawn as pixels
_OTHER = "#8c8f96"
_ONE_POINT = 1e-5  # what remains between unit rows is rounding

Projection = Literal["pca", "tsne", "umap"]
_NAMES: dict[Projection, str] = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def check_projections(projections: Sequence[Projection]) -> None:
    """Raises a ValueError for one that is named twice, or whose package is not installed."""
    if len(set(projections)) < len(projections):
        raise ValueError(f"map: got {' '.join(projections)}, expected each once")
    if "umap" in projections and not importlib.util.find_spec("umap"):
        raise ValueError(
            "map: umap needs the package umap-learn, which is not installed: pip install "
            "umap-learn, or choose tsne"
        )


def map_plots(run: Gathered, projections: Sequence[Projection] = ("pca",)) -> list[Plot]:
    """The map by modality, and by class if the store has labels.

    Args:
        run: the run.
        projections: methods that project the embeddings to the plane.

    Returns:
        One or two panels for each projection; none for fewer than three embeddings.
    """
    names = run.embedded.modalities
    rng = np.random.default_rng(0)
    some = np.any(list(run.embedded.present.values()), axis=0)
    shown = np.sort(rng.permutation(np.flatnonzero(some))[:EXAMPLES])
    here = np.stack([run.embedded.present[name][shown] for name in names], axis=1)
    vectors = np.stack([run.embedded.embeddings[name][shown] for name in names], axis=1)
    if here.sum() < 3:
        return []
    joined = rng.permutation(len(shown))[:JOINED]
    markers = list(itertools.islice(itertools.cycle(SIGNS), len(names)))
    keys = [Key(name, colour(i), SIGNS[markers[i]]) for i, name in enumerate(names)]
    by_modality = [np.full(len(shown), colour(i)) for i in range(len(names))]
    few = "" if len(shown) == some.sum() else f"{len(shown)} of {some.sum()} examples. "
    plots = []
    for projection in projections:
        flat, told = project(vectors[here], projection)
        points = np.full((*here.shape, 2), np.nan)
        points[here] = flat
        lines = points[joined]
        which = "" if len(projections) == 1 else f", {_NAMES[projection]}"
        title = f"By modality{which}"
        plots.append(_scatter(title, points, by_modality, markers, lines, keys, few + told))
        if run.rows.labels is not None:
            colours, classes = _classes(np.asarray(run.rows.labels)[shown])
            by_class = [colours] * len(names)
            title = f"By class{which}"
            plots.append(_scatter(title, points, by_class, markers, lines, classes, ""))
    return plots


def project(
    vectors: Float[np.ndarray, "n d"], projection: Projection = "pca"
) -> tuple[Float[np.ndarray, "n 2"], str]:
    """Points in the plane, and how to read them.

    t-SNE (van der Maaten and Hinton, 2008) and UMAP (McInnes et al., 2018) keep neighbours by the
    cosine together, but not distances; PCA keeps distances as far as a plane can.
    """
    vectors = np.asarray(vectors, float)
    if np.ptp(vectors, axis=0).max() < _ONE_POINT:
        return np.zeros((len(vectors), 2)), "One point."
    if projection == "tsne":
        near = min(30.0, (len(vectors) - 1) / 3)
        tsne = TSNE(perplexity=near, metric="cosine", init="random", random_state=0)
        # Threads that wait for each other take four times as long. Without the variable, cores are
        # counted anyway, with a warning and a traceback if no program reports them, as in a
        # container.
        with threadpool_limits(1), patch.dict(os.environ, OMP_NUM_THREADS="1"):
            flat = tsne.fit_transform(vectors)
        return flat, "t-SNE: only who is near whom counts; distances do not."
    if projection == "umap":
        import umap  # pyright: ignore[reportMissingImports]

        near = min(15, len(vectors) - 1)
        found = umap.UMAP(n_neighbors=near, metric="cosine", random_state=0, n_jobs=1)
        return found.fit_transform(vectors), "UMAP: only who is near whom counts; distances do not."
    pca = PCA(min(2, *vectors.shape), random_state=0)
    flat = pca.fit_transform(vectors)
    kept = 100 * pca.explained_variance_ratio_.sum()
    told = f"PCA: the plane holds {kept:.0f} % of the variance."
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))), told


def _classes(labels: np.ndarray) -> tuple[np.ndarray, list[Key]]:
    """A colour for each example; beyond ten classes, the rarest share a grey."""
    found, counts = np.unique(labels, return_counts=True)
    tints = CLASSES
    if len(found) > len(CLASSES):
        tints = [tint for tint in CLASSES if tint not in GREYS]
    named = np.sort(found[np.argsort(-counts, kind="stable")[: len(tints)]])
    colours = dict(zip(named, tints, strict=False))
    keys = [Key(str(label), tint, "●") for label, tint in colours.items()]
    if len(named) < len(found):
        keys.append(Key(f"{len(found) - len(named)} other classes", _OTHER, "●"))
    return np.array([colours.get(label, _OTHER) for label in labels]), keys


def _scatter(
    title: str,
    points: np.ndarray,
    colours: Sequence[np.ndarray],
    markers: Sequence[str],
    lines: np.ndarray,
    keys: Sequence[Key],
    note: str,
) -> Plot:
    figure, panel = axes(width=4.8, height=4.4)
    pixels = np.isfinite(points[..., 0]).sum() > _VECTORS
    # A star from the middle: it joins every modality to all others.
    rays = [
        (there.mean(axis=0), point)
        for example in lines
        for there in [example[np.isfinite(example[:, 0])]]
        for point in there
    ]
    panel.add_collection(LineCollection(rays, colors=MUTED, linewidths=0.5, alpha=0.6))
    for i, (tints, marker) in enumerate(zip(colours, markers, strict=True)):
        x, y = points[:, i].T
        there = np.isfinite(x)
        panel.scatter(
            *(x[there], y[there]),
            c=list(tints[there]),
            s=9,
            marker=marker,
            linewidths=0,
            alpha=0.8,
            rasterized=bool(pixels),
        )
    panel.set_aspect("equal", adjustable="datalim")
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)
    return Plot(title, figure, tuple(keys), note, large=True)

"""From many dimensions to two."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

Method = Literal["pca", "tsne"]


def project(
    vectors: Float[np.ndarray, "n d"], method: Method
) -> tuple[Float[np.ndarray, "n 2"], str]:
    """Points in the plane, and how to read them."""
    if method == "tsne":
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        made = TSNE(2, perplexity=perplexity, init="random", random_state=0).fit_transform(vectors)
        return np.asarray(made, float), (
            "t-SNE: neighbours stay neighbours; sizes of clusters and distances between them "
            "mean nothing."
        )
    pca = PCA(min(2, *vectors.shape), random_state=0)
    flat = pca.fit_transform(np.asarray(vectors, float))
    kept = 100 * pca.explained_variance_ratio_.sum()
    told = (
        f"PCA: the plane holds {kept:.0f} % of the variance." if np.isfinite(kept) else "One point."
    )
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))), told

"""A linear baseline: maximum-variance generalised canonical correlation of several views.

No learned space should fall below it. Each view is standardised and whitened along its principal
components; the shared space is spanned by the leading right singular vectors of the concatenated
whitened views, which maximise the variance that the views have in common:

    max_W  || [V_1 ... V_k] W ||_F    with  W' W = 1

They are found as eigenvectors of its Gram matrix, `[sum of components]` squared: no randomness that
matters.

Source: Kettenring, "Canonical analysis of several sets of variables", Biometrika 58 (1971), MAXVAR.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gramalign.counted import counted
from gramalign.evaluation.inputs import HostPresent
from gramalign.unit_rows import every_mask

Features = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _View:
    """The fitted linear map of one modality."""

    mean: np.ndarray  # [features]
    whitening: np.ndarray  # [features, components]
    weights: np.ndarray  # [components, dim]

    def whiten(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.whitening


@dataclass(frozen=True)
class LinearGCCA:
    """Linear maps from every modality's features into one space."""

    views: Mapping[str, _View]

    def embed(
        self, features: Features, present: HostPresent | None = None
    ) -> dict[str, Float[np.ndarray, "examples dim"]]:
        """Embed features of any rows, e.g. of the test split.

        Args:
            features: per modality `[examples, features]`, for all fitted modalities.
            present: per modality bool `[examples]`; absent rows come out as zeros.

        Returns:
            Per modality float32 `[examples, dim]` with unit rows.

        Raises:
            ValueError: modalities or widths that are not the fitted ones, lengths that differ, or a
                mask of another shape, dtype or modality.
        """
        if set(features) != set(self.views):
            raise ValueError(
                f"features: got {', '.join(features)}, expected {', '.join(self.views)}; "
                "embed the modalities that the baseline was fitted on"
            )
        masks = _masks(features, present)
        embedded = {}
        for name, view in self.views.items():
            rows = np.asarray(features[name], np.float64)
            there = masks[name]
            if rows.shape[1:] != view.mean.shape:
                raise ValueError(
                    f"features[{name!r}]: got shape {rows.shape}, expected {len(view.mean)} "
                    "features each, as the baseline was fitted on"
                )
            projected = np.zeros((len(rows), view.weights.shape[1]))
            if there.any():
                projected[there] = view.whiten(rows[there]) @ view.weights
            length = np.linalg.norm(projected, axis=1, keepdims=True)
            embedded[name] = (projected / np.where(length == 0, 1, length)).astype(np.float32)
        return embedded


def fit_gcca(
    features: Features,
    present: HostPresent | None = None,
    *,
    dim: int = 32,
    components: int = 100,
    ridge: float = 0.1,
) -> LinearGCCA:
    """Fit the linear baseline on the rows in which every modality is present.

    Args:
        features: per modality `[examples, features]`, the training split.
        present: per modality bool `[examples]`; a modality without a mask is present everywhere.
        dim: size of the shared space; less if the views have fewer components together.
        components: at most how many principal components to keep of each view.
        ridge: fraction of a view's mean component variance to add before whitening, so that
            directions with almost no variance are not amplified into noise.

    Returns:
        The fitted maps.

    Raises:
        ValueError: fewer than two modalities, lengths that differ, a dim or components below 1,
            fewer than `2 * dim` complete rows, a view that does not vary or is not finite, or a
            mask of another shape, dtype or modality.
    """
    if min(dim, components) < 1:
        raise ValueError(f"dim and components: got {dim} and {components}, expected at least 1")
    if len(features) < 2:
        raise ValueError(
            f"features: got {counted(len(features), 'modality')}, expected at least 2 to "
            "correlate; leave the linear baseline out"
        )
    complete = np.all([*_masks(features, present).values()], axis=0)
    if complete.sum() < 2 * dim:
        raise ValueError(
            f"present: got {counted(int(complete.sum()), 'row')} in which all of "
            f"{', '.join(features)} are present, expected at least 2 * dim = {2 * dim}; "
            "use fewer modalities or a smaller dim, or leave the linear baseline out"
        )
    from sklearn.decomposition import PCA  # takes a second to import
    from sklearn.preprocessing import StandardScaler

    fitted, whitened = {}, []
    for name, values in features.items():
        rows = np.asarray(values)[complete].astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError(
                f"features[{name!r}]: some are NaN or infinite in rows where all modalities are "
                "present; mask those rows"
            )
        if np.all(rows == rows[0]):
            raise ValueError(
                f"features[{name!r}]: all {len(rows)} complete rows are equal, so nothing can be"
                " correlated with them; drop this modality from the linear baseline"
            )
        scaler = StandardScaler().fit(rows)
        kept = min(components, rows.shape[1], len(rows) - 1)
        pca = PCA(kept, random_state=0).fit(scaler.transform(rows))
        variance = pca.explained_variance_
        scale = np.sqrt(variance + ridge * variance.mean())
        mean, spread = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
        fitted[name] = mean, (pca.components_ / spread).T / scale
        whitened.append((rows - mean) @ fitted[name][1])
    together = np.concatenate(whitened, axis=1)
    # Squares of singular values, ascending; faster than an SVD, and what is nearly 0 has no weight.
    strength, directions = np.linalg.eigh(together.T @ together)
    # Directions that the views share more strongly weigh more in the cosine.
    shared = (directions * strength / strength[-1])[:, ::-1][:, :dim]
    splits = np.cumsum([view.shape[1] for view in whitened])[:-1]
    return LinearGCCA(
        {
            name: _View(*parts, weights=weights)
            for (name, parts), weights in zip(fitted.items(), np.split(shared, splits), strict=True)
        }
    )


def _masks(features: Features, present: HostPresent | None) -> dict[str, np.ndarray]:
    lengths = {name: len(rows) for name, rows in features.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"features: got different numbers of rows: {lengths}; row i must be the same example "
            "in every modality: give absent ones a row too and mark them in `present`"
        )
    return every_mask(present or {}, tuple(features), next(iter(lengths.values())))

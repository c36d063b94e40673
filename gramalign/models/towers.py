"""The encoder of a whole tuple: one tower per modality."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from gramalign.geometry import normalize
from gramalign.models.tower import Tower
from gramalign.types import Present


class Towers(nnx.Module):
    """A `Tower` per modality; embeddings are unit rows, or zero rows where absent.

    Args:
        dims: width of each modality's features.
        dim: width of the common space.
        hidden: width of each tower's hidden layers.
        depth: number of hidden layers of each tower.
        dropout: rate of dropout after each hidden layer.
        dtype: that of the towers' computation.
        statistics: `(mean, std)` of each modality's training rows; a modality without an entry is
            not standardised.
        rngs: source of the initial weights.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int,
        *,
        hidden: int,
        depth: int,
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        statistics: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        rngs: nnx.Rngs,
    ):
        statistics = statistics or {}
        self.towers = nnx.Dict(
            {
                modality: Tower(
                    features,
                    dim,
                    hidden=hidden,
                    depth=depth,
                    dropout=dropout,
                    dtype=dtype,
                    mean=statistics.get(modality, (None, None))[0],
                    std=statistics.get(modality, (None, None))[1],
                    rngs=rngs,
                )
                for modality, features in sorted(dims.items())
            }
        )

    def __call__(
        self,
        features: Mapping[str, Float[Array, "batch _"]],
        present: Present | None = None,
        *,
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> dict[str, Float[Array, "batch dim"]]:
        """Encodes the modalities that `features` holds, which may be fewer than the towers.

        Args:
            features: raw features of each modality; absent rows may hold anything, even NaN.
            present: which examples have which modality.
            dropout_keys: one per row, `[batch]`, switch dropout on; None means evaluation.

        Raises:
            ValueError: for a modality that has no tower.
        """
        unknown = sorted(set(features) - set(self.towers))
        if unknown:
            raise ValueError(
                f"features: got {unknown}, expected any of {sorted(self.towers)}, which have towers"
            )
        return {
            modality: self._embed(modality, index, features, present or {}, dropout_keys)
            for index, modality in enumerate(sorted(self.towers))
            if modality in features
        }

    def _embed(self, modality, index, features, present, dropout_keys):
        keys = dropout_keys
        if keys is not None:
            keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
        tower, x = self.towers[modality], features[modality]
        if modality not in present:
            return normalize(tower(x, dropout_keys=keys))
        # Masked on the way in as well, or the gradient of a NaN that `where` hides is still NaN.
        here = present[modality][:, None]
        return jnp.where(here, normalize(tower(jnp.where(here, x, 0.0), dropout_keys=keys)), 0.0)

"""The encoder of a whole tuple: one tower per modality."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from gramalign.geometry import normalize
from gramalign.geometry.norms import at_least_float32
from gramalign.imported import arguments
from gramalign.models.standardize import Statistic
from gramalign.models.tower import Tower
from gramalign.types import Present

GIVEN = (
    *("features", "dim", "modality", "hidden", "depth", "dropout", "dtype"),
    *("mean", "std", "rngs"),
)
"""What a tower is made from, as far as its class takes it."""


class Towers(nnx.Module):
    """A tower per modality; embeddings are unit rows, or zero rows where absent.

    Args:
        dims: width of each modality's features.
        dim: width of the common space.
        hidden: width of each tower's hidden layers.
        depth: number of hidden layers of each tower.
        dropout: rate of dropout after each hidden layer.
        dtype: that of the towers' computation.
        statistics: `(mean, std)` of each modality's training rows; a modality without an entry is
            not standardised.
        tower: the class of the towers. It is made from those of `GIVEN` that it takes, and its
            `settings`. It maps raw features `[batch, features]` to `[batch, dim]`, each row by
            itself; if it takes `dropout_keys`, it gets one for each row, or None for evaluation.
        settings: further keyword arguments of that class.
        rngs: source of the initial weights.

    Raises:
        ValueError: for a tower with variables that are neither `nnx.Param` nor `Statistic`.
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
        tower: type[nnx.Module] = Tower,
        settings: Mapping[str, Any] | None = None,
        rngs: nnx.Rngs,
    ):
        shape = {"dim": dim, "hidden": hidden, "depth": depth, "dropout": dropout, "dtype": dtype}
        takes = arguments(tower)

        def made(modality: str, features: int) -> nnx.Module:
            mean, std = (statistics or {}).get(modality, (None, None))
            own = {"features": features, "modality": modality, "mean": mean, "std": std}
            given = {**shape, **own, "rngs": rngs}
            return tower(**{n: x for n, x in given.items() if n in takes}, **(settings or {}))

        self.dim = dim
        self.towers = nnx.Dict({m: made(m, features) for m, features in sorted(dims.items())})
        for path, variable in nnx.to_flat_state(nnx.state(self.towers)):
            if not isinstance(variable, nnx.Param | Statistic):
                raise ValueError(
                    f"{tower.__name__} has {'.'.join(map(str, path))}, of type "
                    f"{type(variable).__name__}, expected nnx.Param, or gramalign.models.Statistic "
                    "for what is not trained"
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
        x = features[modality]
        if modality not in present:
            return normalize(self._encode(modality, x, keys))
        # Masked on the way in as well, or the gradient of a NaN that `where` hides is still NaN.
        here = present[modality][:, None]
        return jnp.where(
            here, normalize(self._encode(modality, jnp.where(here, x, 0.0), keys)), 0.0
        )

    def _encode(self, modality, x, keys):
        tower = self.towers[modality]
        y = tower(x, dropout_keys=keys) if "dropout_keys" in arguments(tower) else tower(x)
        if y.shape != (len(x), self.dim):
            raise ValueError(
                f"the tower of {modality} returns shape {y.shape} for features of shape {x.shape}, "
                f"expected {(len(x), self.dim)}"
            )
        return at_least_float32(y)

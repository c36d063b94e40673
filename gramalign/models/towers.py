"""The encoder of a whole tuple: one tower per modality."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from gramalign.geometry import normalize
from gramalign.imported import arguments, placed
from gramalign.models.standardize import Statistic
from gramalign.models.tower import Tower
from gramalign.types import Present

GIVEN = (
    *("features", "dim", "modality", "hidden", "depth", "dropout", "dtype", "remat"),
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
        remat: whether towers of several layers compute each again when its derivatives are due.
        statistics: `(mean, std)` of each modality's training rows; a modality without an entry is
            not standardised.
        tower: the class of the towers. It is made from those of `GIVEN` that it takes by name, and
            its `settings`. It maps raw features `[batch, features]` to `[batch, dim]`, each row by
            itself; if it takes `dropout_keys` or `**others`, it gets one key for each row, or None
            for evaluation.
            `mean` and `std` are for its `Statistic`s alone: while parameters are made and where
            their shapes are asked for, they are 0 and 1.
        settings: further keyword arguments of that class.
        frozen: modalities without dropout, whatever keys are given, as nothing of them is trained.
        rngs: source of the initial weights.

    Raises:
        ValueError: for a tower with variables that are neither `nnx.Param` nor `Statistic`, or with
            parameters that are not real floating point.
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
        remat: bool = False,
        statistics: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        tower: type[nnx.Module] = Tower,
        settings: Mapping[str, Any] | None = None,
        frozen: Collection[str] = (),
        rngs: nnx.Rngs,
    ):
        shape = {"dim": dim, "hidden": hidden, "depth": depth, "dropout": dropout}
        shape |= {"dtype": dtype, "remat": remat}
        takes = arguments(tower)

        def made(modality: str, features: int) -> nnx.Module:
            unmeasured = np.zeros(features), np.ones(features)
            mean, std = (statistics or {}).get(modality, unmeasured)
            own = {"features": features, "modality": modality, "mean": mean, "std": std}
            given = {**shape, **own, "rngs": rngs}
            with placed(tower, f"in the tower of {modality}"):
                return tower(**{n: x for n, x in given.items() if n in takes}, **(settings or {}))

        self.dim = dim
        self.frozen = tuple(sorted(frozen))
        self.towers = nnx.Dict({m: made(m, features) for m, features in sorted(dims.items())})
        _check_variables(tower.__name__, nnx.to_flat_state(nnx.state(self.towers)))

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
            ValueError: for a modality that has no tower, or a tower that does not return an array
                of floats `[batch, dim]`.
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

    def initial_weights(self) -> dict[str, np.ndarray]:
        """Weights to begin with in the place of random ones, of towers that have any.

        A tower of your own has them by a method of this name, which is called once, before the
        first step, and returns arrays by names in it, such as `layers.0.kernel`.

        Returns:
            By names such as `towers.text.layers.0.kernel`.

        Raises:
            ValueError: for a name that is no variable of the tower, or an array of another shape.
        """
        found = {}
        for modality, tower in self.towers.items():
            if (make := getattr(tower, "initial_weights", None)) is None:
                continue
            with placed(type(tower), f"in initial_weights of the tower of {modality}"):
                arrays = make()
            there = {
                ".".join(map(str, path)): variable.shape
                for path, variable in nnx.to_flat_state(nnx.state(tower))
            }
            for name, array in arrays.items():
                if there.get(name) != array.shape:
                    raise ValueError(
                        f"the tower of {modality} has initial weights {name} of shape "
                        f"{array.shape}, expected any of its variables, in their shape"
                        + (f", {there[name]}" if name in there else "")
                    )
                found[f"towers.{modality}.{name}"] = array
        return found

    def made_of(self) -> dict[str, str]:
        """By modality, a digest of what else than its settings and weights decides what it embeds.

        A tower of your own has it by a method of this name: of files that it reads when it is made,
        say. A run whose towers are made of something else by now is refused.
        """
        makers = {m: getattr(tower, "made_of", None) for m, tower in self.towers.items()}
        return {modality: make() for modality, make in makers.items() if make is not None}

    def _embed(self, modality, index, features, present, dropout_keys):
        keys = None if modality in self.frozen else dropout_keys
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
        takes = arguments(tower)
        # Whoever passes others on, as to `Tower`, means the keys as well.
        keyed = "dropout_keys" in takes or any(each.startswith("**") for each in takes)
        with placed(type(tower), f"in the tower of {modality}"):
            y = tower(x, dropout_keys=keys) if keyed else tower(x)
        if not isinstance(y, jax.Array | np.ndarray):
            what = f"a {type(y).__name__}"
        elif not jnp.issubdtype(y.dtype, jnp.floating):
            what = f"{y.dtype}"
        elif y.shape != (x.shape[0], self.dim):
            what = f"shape {y.shape}"
        else:
            return y
        raise ValueError(
            f"the tower of {modality} returns {what} for features of shape {x.shape}, expected "
            f"floats of shape {(x.shape[0], self.dim)}"
        )


def _check_variables(name: str, variables: Iterable[tuple[Any, Any]]) -> None:
    for path, variable in variables:
        dtype = getattr(variable, "dtype", None)
        if isinstance(variable, nnx.Param):
            if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
                continue
            kind = f"Param of {dtype or type(variable.get_value()).__name__}"
        elif isinstance(variable, Statistic):
            continue
        else:
            kind = type(variable).__name__
        raise ValueError(
            f"{name} has {'.'.join(map(str, path))}, of type {kind}, expected nnx.Param with an "
            "array of floats, or gramalign.models.Statistic for what is not trained"
            + next((cure for of, cure in _CURES.items() if isinstance(variable, of)), "")
        )


_CURES = {
    nnx.RngState: "; keep no rngs: for dropout take dropout_keys, one per row, when called",
    nnx.BatchStat: "; each row is embedded by itself, so normalise it by itself, as nnx.LayerNorm",
}

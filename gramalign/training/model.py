"""Everything a run trains: the encoder, and the temperatures that its objective learns."""

from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from gramalign.models import LogitScale, Statistic, Towers
from gramalign.training.config import Config


class Model(nnx.Module):
    """The encoder of a run and its learned temperatures.

    Args:
        config: the run.
        dims: width of each modality's features.
        statistics: `(mean, std)` of each modality's training rows.
        rngs: source of the initial weights.
    """

    def __init__(
        self,
        config: Config,
        dims: Mapping[str, int],
        statistics: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        shape = config.model
        self.encoder = Towers(
            dims,
            shape.dim,
            hidden=shape.hidden,
            depth=shape.depth,
            dropout=shape.dropout,
            statistics=statistics,
            rngs=rngs,
        )
        self.logit_scales = nnx.Dict(
            {
                name: LogitScale(term.learned_temperature)
                for name, term in config.terms.items()
                if term.learned_temperature is not None
            }
        )

    def temperatures(self) -> dict[str, Float[Array, ""]]:
        """The learned temperature of each term that learns one."""
        return {name: scale.temperature for name, scale in self.logit_scales.items()}


def split(model: Model) -> tuple[nnx.GraphDef, PyTree, PyTree]:
    """Takes a model apart once, before any jit: `(graphdef, params, statistics)`.

    Params and statistics are plain nested dicts of arrays: a jitted function takes those in much
    faster than nnx's own states, and every tool can save them. `nnx.merge` undoes the split.
    """
    graphdef, params, statistics = nnx.split(model, nnx.Param, Statistic)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)


def abstract_model(config: Config, dims: Mapping[str, int]) -> Model:
    """The model with shapes in the place of arrays: what a restored one must look like."""
    return nnx.eval_shape(lambda: Model(config, dims, rngs=nnx.Rngs(params=jax.random.key(0))))

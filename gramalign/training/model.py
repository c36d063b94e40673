"""Everything a run trains: the encoder, and the learned parts of its objective's terms."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from gramalign.models import Statistic, Towers
from gramalign.training.config import Config
from gramalign.training.rates import Rates, check_rules, factor_of
from gramalign.training.term import Term
from gramalign.training.tower_named import tower_named
from gramalign.types import Embeddings, Present


class Learned(nnx.Module):
    """What a term learns besides the towers: numbers and heads.

    Args:
        term: the term.
        modalities: those of the run.
        dim: width of the common space.
        rngs: source of the heads' initial weights.
    """

    def __init__(self, term: Term, modalities: tuple[str, ...], dim: int, *, rngs: nnx.Rngs):
        self.numbers = nnx.Dict(term.numbers())
        self.heads = nnx.Dict(term.heads(modalities, dim, rngs))
        self.head = term.head(modalities, dim, rngs)

    def settings(self) -> dict[str, Float[Array, ""]]:
        """The learned numbers, by the settings of the term that they replace."""
        return {name: number.value for name, number in self.numbers.items()}

    def given(self) -> dict[str, Any]:
        """What the term's loss takes of it: the learned numbers, and its head if it has one."""
        return {**self.settings(), **({} if self.head is None else {"head": self.head})}

    def with_heads(
        self, embeddings: Embeddings, present: Present | None
    ) -> tuple[Embeddings, Present]:
        """A batch's embeddings and masks, and those that the heads make from them."""
        made = {name: head(embeddings, present) for name, head in self.heads.items()}
        return (
            {**embeddings, **{name: vectors for name, (vectors, _) in made.items()}},
            {**(present or {}), **{name: mask for name, (_, mask) in made.items()}},
        )


class Model(nnx.Module):
    """The encoder of a run and the learned parts of its terms.

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
        shape, tower = config.model, tower_named(config.model.tower)
        self.encoder = Towers(
            dims,
            shape.dim,
            hidden=shape.hidden,
            depth=shape.depth,
            dropout=shape.dropout,
            dtype=shape.dtype,
            remat=shape.remat,
            statistics=statistics,
            tower=tower.found,
            settings=tower.settings,
            frozen=config.freeze,
            rngs=rngs,
        )
        modalities = tuple(sorted(dims))
        self.terms = nnx.Dict(
            {
                name: Learned(term, modalities, shape.dim, rngs=rngs)
                for name, term in config.terms.items()
            }
        )


def split(
    model: Model, rates: Rates = (), *, trained: bool = True
) -> tuple[nnx.GraphDef, PyTree, PyTree]:
    """Splits a model once, before any jit: `(graphdef, params, fixed)`.

    Params are what is trained; fixed are statistics, the parameters of frozen towers, and those
    whose learning rate is 0. Both are plain nested dicts of arrays: a jitted function accepts them
    much faster than nnx's own states, and every tool can save them. `nnx.merge` undoes the split.

    Args:
        model: the model.
        rates: which parameters have a learning rate of 0.
        trained: whether any step is made, for which nothing but numbers would be too little.

    Raises:
        ValueError: a rule of the rates without a parameter, or nothing to train but numbers.
    """
    frozen = {("encoder", "towers", modality) for modality in model.encoder.frozen}
    learning: dict[str, float] = {}

    def learns(path: tuple[Any, ...], variable: Any) -> bool:
        if not isinstance(variable, nnx.Param) or path[:3] in frozen:
            return False
        name = ".".join(map(str, path))
        learning[name] = factor_of(name, rates)
        return learning[name] > 0

    graphdef, params, fixed = nnx.split(model, learns, (nnx.Param, Statistic))
    check_rules(sorted(learning), rates)
    if trained and all(".numbers." in name for name, factor in learning.items() if factor > 0):
        cure = "let freeze name fewer modalities, give fewer parameters a learning rate of 0"
        if not any(name.startswith("encoder.") for name in learning) and not frozen:
            cure = "give towers an nnx.Param, of which they have none"
        raise ValueError(
            f"nothing is left to train but learned numbers: {cure}, or make 0 steps, which changes "
            "nothing"
        )
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(fixed)


def joined(graphdef: nnx.GraphDef, params: PyTree, fixed: PyTree) -> PyTree:
    """All parts of a model as one nested dict: the content of its file."""
    return nnx.to_pure_dict(nnx.state(nnx.merge(graphdef, params, fixed)))


def standardised(model: Model) -> list[str]:
    """The modalities whose towers have statistics of their features; of others none are needed."""
    found = nnx.state(model.encoder.towers, Statistic)
    return sorted({str(path[0]) for path, _ in nnx.to_flat_state(found)})


def weights_of(model: Model) -> frozenset[str]:
    """Names of all parameters, trained or not."""
    found = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return frozenset(".".join(map(str, path)) for path, _ in found)


def abstract_model(config: Config, dims: Mapping[str, int]) -> Model:
    """The model with shapes in place of arrays, which a restored model must match."""
    return nnx.eval_shape(lambda: Model(config, dims, rngs=nnx.Rngs(jax.random.key(0))))

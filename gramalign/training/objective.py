"""The loss of a run: the weighted sum of its terms over the examples that take part in each."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from gramalign import losses
from gramalign.training.config import Config
from gramalign.types import Embeddings, Present


def objective(
    embeddings: Embeddings,
    *,
    present: Present | None,
    groups: Int[Array, " batch"] | None,
    temperatures: Mapping[str, Float[Array, ""]],
    config: Config,
    mesh: Mesh | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Computes the loss to minimise.

    Args:
        embeddings: unit rows of each modality.
        present: which rows are there.
        groups: examples of one group are never each other's negatives.
        temperatures: the learned temperature of each term that learns one.
        config: names the terms, their weights and settings.
        mesh: the devices that the batch is split over, all its axes; None: there is one.

    Returns:
        The weighted sum, and each term's own mean under `loss/<name>`.
    """
    means = {}
    for name, term in config.terms.items():
        loss = term if mesh is None else losses.over_mesh(term, mesh)
        values = loss(
            embeddings,
            temperature=temperatures.get(name),
            present=present,
            groups=groups,
            engine=config.engine,
        )
        taking_part = losses.participants(embeddings, present, term.anchor)
        means[name] = losses.masked_mean(values, taking_part)
    weighted = [weight * means[name] for name, weight in config.weights.items()]
    total = jnp.sum(jnp.stack(weighted))
    return total, {f"loss/{name}": mean for name, mean in means.items()}

"""The loss of a run: the weighted sum of its terms over the examples that take part in each."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gramalign import losses
from gramalign.training.config import Config
from gramalign.training.layout import loss_axes
from gramalign.training.model import Learned
from gramalign.types import Embeddings, Groups, Present


def objective(
    embeddings: Embeddings,
    *,
    present: Present | None,
    groups: Groups | None,
    labels: Int[Array, " batch"] | None = None,
    learned: Mapping[str, Learned],
    key: PRNGKeyArray,
    config: Config,
    mesh: Mesh,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Computes the loss to minimise.

    Args:
        embeddings: unit rows of each modality.
        present: which rows are present.
        groups: examples of one group are never each other's negatives.
        labels: the class of each example, for terms that need them.
        learned: the learned parts of each term.
        key: for terms that draw.
        config: names the terms, their weights and settings.
        mesh: the devices, from `gramalign.training.layout`.

    Returns:
        The weighted sum, and each term's own mean under `loss/<name>`.

    Raises:
        ValueError: a term returns anything but a real value for each example.
    """
    means = {}
    for name, term in config.terms.items():
        # A loss that knows of no axis is written for the whole batch, which XLA then divides.
        split = mesh.size > 1 and term.takes("axis_name")
        vectors, masks = learned[name].with_heads(embeddings, present)
        size = next(iter(vectors.values())).shape[0]
        loss = losses.over_mesh(term, mesh, loss_axes(size, mesh)) if split else term
        drawing = {"key": key} if term.draws else {}
        values = loss(
            vectors,
            present=masks,
            groups=labels if term.needs_labels else groups,
            engine=config.engine,
            **learned[name].given(),
            **drawing,
        )
        taking_part = term.participants(embeddings, present)
        _check(values, taking_part.shape, name)
        means[name] = losses.masked_mean(values, taking_part)
    weighted = [weight * means[name] for name, weight in config.weights.items()]
    total = jnp.sum(jnp.stack(weighted))
    return total, {f"loss/{name}": mean for name, mean in means.items()}


def _check(values: Any, shape: tuple[int, ...], name: str) -> None:
    """Raises `ValueError` unless a term's values are an array of this shape that has a gradient."""
    array = isinstance(values, (jax.Array, np.ndarray))
    if not array or values.shape != shape:
        got = f"shape {values.shape}" if array else f"a {type(values).__name__}"
        raise ValueError(
            f"{name} must return one value for each example, of shape {shape}, got {got}"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"{name} must return floating-point values, got {values.dtype}, which has no gradient"
        )

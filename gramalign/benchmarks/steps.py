"""What the benchmarks run: one batch of made-up embeddings, and loss with gradient in JAX."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from jaxtyping import Array, Float

from gramalign import losses
from gramalign.benchmarks.workload import Method, Way
from gramalign.contrast import Engine

ANCHOR = "m0"

LOSSES: dict[Method, Callable] = {
    "gram": partial(losses.gram, anchor=ANCHOR),
    "pmrl": losses.pmrl,
    "clip": partial(losses.clip, anchor=ANCHOR),
}
"""Losses by method, with the published temperatures; the anchor is the first modality."""


def names(modalities: int) -> list[str]:
    """`m0`, `m1`, ...: the first is the anchor."""
    return [f"m{i}" for i in range(modalities)]


def made_up(
    batch: int, modalities: int, dim: int, seed: int = 0
) -> dict[str, Float[np.ndarray, "batch dim"]]:
    """Unit rows for each modality, half shared within a tuple and half noise.

    Matched pairs then have a cosine of about 0.5, as in the first part of a training run.
    """
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((batch, dim), dtype=np.float32)
    embeddings = {}
    for name in names(modalities):
        noisy = shared + rng.standard_normal((batch, dim), dtype=np.float32)
        embeddings[name] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return embeddings


def mesh_of(devices: int) -> Mesh:
    """The first so many devices, along one axis."""
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


def place(
    embeddings: Mapping[str, Float[np.ndarray, "batch dim"]], dtype: str, devices: int
) -> dict[str, Float[Array, "batch dim"]]:
    """The embeddings in a dtype, on the device or split over several."""
    split = jax.NamedSharding(mesh_of(devices), jax.P("data"))
    to = split if devices > 1 else jax.devices()[0]
    return {n: jax.device_put(x.astype(jnp.dtype(dtype)), to) for n, x in embeddings.items()}


def step(method: Method, way: Way) -> Callable:
    """The jitted function from embeddings to mean loss and gradients."""
    loss = LOSSES[method]
    if way.devices > 1:
        loss = losses.over_mesh(loss, mesh_of(way.devices))
    engine = Engine(way.strategy, way.tile, way.implementation)
    return jax.jit(jax.value_and_grad(lambda embeddings: jnp.mean(loss(embeddings, engine=engine))))

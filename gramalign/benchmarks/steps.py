"""What the benchmarks run: one batch of synthetic embeddings, and loss with gradient in JAX."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh
from jaxtyping import Array, Float

from gramalign import losses
from gramalign.benchmarks.workload import Method, Way
from gramalign.contrast import Engine
from gramalign.training.own_terms import term_named
from gramalign.training.term import Anchored, Term

ANCHOR = "m0"


def names(modalities: int) -> list[str]:
    """`m0`, `m1`, ...: the first is the anchor."""
    return [f"m{i}" for i in range(modalities)]


def objective(method: Method) -> Term:
    """A method with its own settings; its anchor, if it has one, is the first modality."""
    kind = term_named(method)
    return kind(anchor=ANCHOR) if issubclass(kind, Anchored) else kind()


def inputs(method: Method, modalities: int) -> list[str]:
    """The modalities, and those that the method's heads would add: embeddings like any other."""
    given = names(modalities)
    heads = objective(method).heads(tuple(given), 1, nnx.Rngs(0))
    return [*given, *heads]


def made_up_for(
    method: Method, batch: int, modalities: int, dim: int
) -> dict[str, Float[np.ndarray, "batch dim"]]:
    """`made_up` rows for all inputs of a method."""
    wanted = inputs(method, modalities)
    return dict(zip(wanted, made_up(batch, len(wanted), dim).values(), strict=True))


def made_up(batch: int, modalities: int, dim: int) -> dict[str, Float[np.ndarray, "batch dim"]]:
    """Unit rows for each modality, half shared within a tuple and half noise.

    Matched pairs then have a cosine of about 0.5, as in the first part of a training run.
    """
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((batch, dim), dtype=np.float32)
    embeddings = {}
    for name in names(modalities):
        noisy = shared + rng.standard_normal((batch, dim), dtype=np.float32)
        embeddings[name] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return embeddings


def mesh_of(devices: int) -> Mesh:
    """The first devices, this many, along one axis."""
    return jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])


def place(
    embeddings: Mapping[str, Float[np.ndarray, "batch dim"]], dtype: str, devices: int
) -> dict[str, Float[Array, "batch dim"]]:
    """The embeddings in a dtype, on one device or split over several."""
    split = jax.NamedSharding(mesh_of(devices), jax.P("data"))
    to = split if devices > 1 else jax.devices()[0]
    return {n: jax.device_put(x.astype(jnp.dtype(dtype)), to) for n, x in embeddings.items()}


def step(method: Method, way: Way) -> Callable:
    """The jitted function from embeddings to mean loss and gradients.

    For a method that needs labels, every two examples share one.
    """
    term, engine = objective(method), Engine(way.strategy, way.tile, way.implementation)
    # As in training: one that knows of no axis is written for the whole batch.
    split = way.devices > 1 and term.takes("axis_name")
    loss = losses.over_mesh(term, mesh_of(way.devices)) if split else term

    def mean(embeddings: Mapping[str, Float[Array, "batch dim"]]) -> Float[Array, ""]:
        numbers = jnp.arange(len(embeddings[ANCHOR]), dtype=jnp.int32)
        given = {"groups": numbers // 2} if term.needs_labels else {}
        with jax.ensure_compile_time_eval():
            head = term.head(tuple(embeddings), embeddings[ANCHOR].shape[1], nnx.Rngs(0))
        given |= {} if head is None else {"head": head}
        given |= {"key": jax.random.key(0)} if term.draws else {}
        return jnp.mean(loss(embeddings, engine=engine, **given))

    return jax.jit(jax.value_and_grad(mean))

"""What missing embeddings would be, given an example's others: probabilistic PCA over modalities.

    sqrt(d) z_m = W_m b + mu_m + e_m,   b ~ N(0, I) of all modalities,   e_m ~ N(0, sigma_m^2 I)

All of it is one Gaussian, so what is absent is left out of the likelihood, and the others say what
b is, in closed form: with V = (I + sum_m W_m^T W_m / sigma_m^2)^-1, its mean is
V sum_m W_m^T (sqrt(d) z_m - mu_m) / sigma_m^2, sums over those present.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import Precision
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from gramalign.geometry import normalize
from gramalign.geometry.norms import at_least_float32
from gramalign.mesh import split_over
from gramalign.scores.sides import stack
from gramalign.types import Embeddings, Present

LEAST_VARIANCE = 1e-4
"""Added to sigma^2: equal modalities would have none, and a likelihood without bound."""


class Completion(nnx.Module):
    """Probabilistic PCA of a tuple, for `losses.calmrl`.

    At first all modalities share the same random directions: what is missing is then thought to be
    where the others are.

    Args:
        modalities: those of a tuple.
        dim: width of the common space.
        rank: number of directions that modalities vary along together.
        rngs: source of the initial weights.

    Raises:
        ValueError: for fewer than two modalities, one of them twice, or a rank that is not from 1
            to `dim`.
    """

    def __init__(self, modalities: Sequence[str], dim: int, *, rank: int, rngs: nnx.Rngs):
        if len(modalities) < 2 or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be two or more, each once, got {list(modalities)}")
        if not 1 <= rank <= dim:
            raise ValueError(f"rank is {rank}, expected a value within [1, {dim}]")
        self.modalities = tuple(modalities)
        self.dim = dim
        # Half of the variance of unit rows, whose scaled elements have a mean square of 1.
        scaled = nnx.initializers.orthogonal(math.sqrt(dim / rank / 2))
        shared = scaled(rngs.params(), (rank, dim))
        self.weights = nnx.Dict({m: nnx.Param(jnp.array(shared)) for m in modalities})
        self.means = nnx.Dict({m: nnx.Param(jnp.zeros(dim)) for m in modalities})
        self.log_noise = nnx.Dict({m: nnx.Param(jnp.array(math.log(0.5) / 2)) for m in modalities})

    def __call__(
        self, embeddings: Embeddings, present: Present | None = None
    ) -> tuple[dict[str, Float[Array, "batch dim"]], Float[Array, " batch"]]:
        """Completes a batch.

        Args:
            embeddings: by modality, `[batch, dim]`; absent rows may hold anything. Without some of
                the modalities, these are absent everywhere.
            present: which examples have which modality.

        Returns:
            Unit rows of every modality, in float32: what is expected of it, given all that an
            example has; and the example's negative log-likelihood by embedding and dimension
            `[batch]`, 0 for one that has nothing.

        Raises:
            ValueError: for modalities that it does not know, or that are not `dim` wide.
        """
        for name, x in embeddings.items():
            if name not in self.modalities or x.shape[1] != self.dim:
                raise ValueError(
                    f"embeddings[{name!r}] is {x.shape[1]} wide, expected any of "
                    f"{list(self.modalities)}, {self.dim} wide"
                )
        vectors, kept = stack(embeddings, present, list(embeddings))
        x = jnp.where(kept[..., None], at_least_float32(vectors) * self.dim**0.5, 0)
        weights, means, log_noise = (
            jnp.stack([of[name][...] for name in embeddings])
            for of in (self.weights, self.means, self.log_noise)
        )
        posterior, spec = _posterior, split_over(x)
        if spec is not None:  # of which JAX has no Cholesky factor
            posterior = jax.sharding.auto_axes(posterior, out_sharding=PartitionSpec(spec[0]))
        latent, density = posterior(x, kept, weights, means, log_noise)  # pyright: ignore[reportCallIssue]
        expected = {
            name: normalize(
                _product("bq,qd->bd", latent, self.weights[name][...]) + self.means[name][...][None]
            )
            for name in self.modalities
        }
        number = jnp.sum(kept, axis=1).astype(density.dtype)
        return expected, -density / (self.dim * jnp.maximum(number, 1))


def _posterior(
    x: Float[Array, "b k d"],
    kept: Bool[Array, "b k"],
    weights: Float[Array, "k q d"],
    means: Float[Array, "k d"],
    log_noise: Float[Array, " k"],
) -> tuple[Float[Array, "b q"], Float[Array, " b"]]:
    """The mean of b, and the logarithm of the density of what is kept."""
    variance = jnp.exp(2 * log_noise) + LEAST_VARIANCE
    rest = x - means[None]
    shared = jnp.where(kept, 1 / variance[None], 0)
    squares = _product("kqd,krd->kqr", weights, weights)
    precision = jnp.eye(weights.shape[1])[None] + _product("bk,kqr->bqr", shared, squares)
    pull = _product("bkd,kqd->bq", rest * shared[..., None], weights)
    # Its least eigenvalue is at least 1.
    lower = jnp.linalg.cholesky(precision)
    half = jax.lax.linalg.triangular_solve(lower, pull[..., None], left_side=True, lower=True)
    mean = jax.lax.linalg.triangular_solve(
        lower, half, left_side=True, lower=True, transpose_a=True
    )
    squared = jnp.sum(shared * jnp.sum(rest**2, axis=-1), axis=1) - jnp.sum(half**2, axis=(1, 2))
    width = x.shape[-1]
    determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(lower, axis1=1, axis2=2)), axis=1)
    constants = jnp.log(2 * math.pi * variance)
    constant = width * jnp.sum(jnp.where(kept, constants[None], 0), axis=1)
    return mean[..., 0], -(squared + determinant + constant) / 2


def _product(of: str, *arrays: Array) -> Array:
    return jnp.einsum(of, *arrays, precision=Precision.HIGHEST)

"""CalMRL: PMRL of tuples whose missing embeddings are completed from those that there are.

    L = PMRL(z_1, ..., z_k),   z_m what is expected of m given the example's others, where missing
        - log p(z_m, of those present) / (d times their number)

PMRL leaves missing modalities out, which shifts a tuple's leading direction towards those that are
there; completed, the tuple points where it would point as a whole. The expectation and p are of a
head such as `gramalign.models.Completion`, probabilistic PCA. Completed embeddings are held here:
PMRL trains those present, the likelihood trains the head. Its gradient is that of the paper's
alternation, in which the latent variables' posterior is computed first and held (Fisher's
identity). The paper adds matching with a weight of 0.1.

Source: Liu et al., ICML 2026, arXiv 2511.12034; the temperatures are PMRL's.
Needs: a head; no anchor, all modalities are treated alike; k >= 2.
Cost: that of PMRL; the head, a q x q factorisation per example for rank q; memory O(B (k d + q^2)).
Singular set: that of PMRL.
Blind spot: that of PMRL; and modalities that are never seen together, of which the head knows no
    more than the directions that it began with.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.compiled import check_head, compiled
from gramalign.losses.participants import participants
from gramalign.losses.pmrl import pmrl
from gramalign.mesh import AxisName
from gramalign.scores.sides import check_unit, mask_of
from gramalign.types import Embeddings, Groups, Present

Head = Callable[[Embeddings, Present], tuple[Embeddings, Float[Array, " batch"]]]
"""From embeddings and masks to expected embeddings, and minus a log-likelihood of each example."""


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    check_head(settings.get("head"), "Completion")
    check_unit(embeddings, settings["present"])


@compiled("signed", check=_check)
def calmrl(
    embeddings: Embeddings,
    *,
    head: Head,
    tau_alignment: Float[Array, ""] | float = 0.05,
    tau_instance: Float[Array, ""] | float = 0.1,
    signed: bool = True,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """CalMRL loss of every example: PMRL of its completed tuple, and the head's surprise.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        head: called with embeddings and masks of all modalities, returns unit rows of each and
            `[batch]`. An `nnx.Module`, or any pytree, is differentiated too; pass a plain function
            as the same object at every call.
        tau_alignment: temperature of the softmax over singular values.
        tau_instance: temperature of the softmax over examples.
        signed: compare directions by their cosine; False: by its square.
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        TypeError: for a head that cannot be called.
        ValueError: for fewer than two modalities, shapes that differ, a head that does not return
            an array of the embeddings' shape for each modality and one number for each example, or
            rows that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from gramalign.models import Completion
    >>> head = Completion(("text", "audio"), 4, rank=2, rngs=nnx.Rngs(0))
    >>> calmrl({"text": jnp.eye(4), "audio": jnp.eye(4)}, head=head).shape
    (4,)
    """
    held = {name: jax.lax.stop_gradient(x) for name, x in embeddings.items()}
    masks = {name: mask_of(embeddings, present, name) for name in embeddings}
    match head(held, masks):
        case Mapping() as expected, surprise:
            pass
        case other:
            raise ValueError(
                "head must return a dict of arrays and an array, as a gramalign.models.Completion "
                f"does, got {type(other).__name__}"
            )
    for name, x in embeddings.items():
        found = jnp.shape(expected[name]) if name in expected else None
        if found != x.shape or jnp.shape(surprise) != x.shape[:1]:
            raise ValueError(
                f"head must return an array of shape {x.shape} for {name} and one of shape "
                f"{x.shape[:1]}, got {found} and {jnp.shape(surprise)}"
            )
    taking_part = participants(embeddings, present)
    whole = {
        name: jnp.where(
            masks[name][:, None], x, jax.lax.stop_gradient(expected[name]).astype(x.dtype)
        )
        for name, x in embeddings.items()
    }
    values = pmrl(
        whole,
        tau_alignment=tau_alignment,
        tau_instance=tau_instance,
        signed=signed,
        present=dict.fromkeys(whole, taking_part),
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )
    return jnp.where(taking_part, values + surprise, 0)

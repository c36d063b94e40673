"""TRIANGLE: contrast on the area of the triangle that three modalities span.

    A(x, y, z) = 1/2 sqrt( <u,u> <v,v> - <u,v>^2 ),   u = x - y,  v = x - z
    L = 1/2 (L_D2T + L_T2D),  softmax over -A / tau along the columns and along the rows

`root=False` contrasts (<u,u> <v,v> - <u,v>^2) / 2 = 2 A^2 as the released code does, which omits
the root. `simplex` takes any number of modalities. For search, the paper mixes in the cosine of two
of the three: `MixedScore((SimplexScore(x), CosineScore(x, y)), (1.0, alpha))`.

Source: Cicchetti et al., NeurIPS 2025, arXiv 2509.24734.
Needs: exactly three modalities; an anchor, or each in turn.
Cost: 4 B^2 d flops forward and four times that with the gradient, per anchor; memory O(B d), where
the released code holds B^2 d.
Singular set: three points on a line, where the area is 0 and has a kink (none without the root);
derivatives are 0 there.
Blind spot: points on a line: parallel differences, or two modalities alike, whatever the third.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.simplex import simplex
from gramalign.mesh import AxisName
from gramalign.types import Embeddings, Groups, Present


@compiled("root", check=check_unit_rows)
def triangle(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    root: bool = True,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """TRIANGLE loss of every example.

    Args:
        embeddings: unit rows of three modalities, `[batch, dim]` each.
        anchor: the modality that is compared with the other two; None: the mean over all.
        root: the area as published, or twice its square as released.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality; with only two, the area becomes a distance.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or both others and so takes no part
        (`participants` says which).

    Raises:
        ValueError: for other than three modalities, an unknown anchor, shapes that differ, or rows
            that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> aligned = {"text": eye, "audio": eye, "video": jnp.roll(eye, 1, axis=1)}
    >>> bool(triangle(aligned, root=False).mean() < jnp.log(4))
    True
    """
    if len(embeddings) != 3:
        raise ValueError(
            f"triangle needs exactly three modalities, got {sorted(embeddings)}: for any other "
            "number use losses.simplex"
        )
    return simplex(
        embeddings,
        anchor=anchor,
        squared=not root,
        temperature=temperature if root else temperature / 2,
        label_smoothing=label_smoothing,
        present=present,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )

"""A linear map of patches, for images, videos and spectrograms."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from gramalign.models.pretrained.unread import KERNEL


class PatchMap(nnx.Conv):
    """`nnx.Conv` without padding, as one matrix product of all patches.

    The same sums as a convolution's. The derivative of one whose kernels are as wide as these, and
    whose channels are as few, is a convolution that a TPU's compiler works on for minutes.

    Args:
        channels: number of channels.
        width: of a mapped patch.
        patch: size of a patch along each axis.
        stride: from one patch to the next.
        bias: whether the map has one.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        patch: tuple[int, ...],
        stride: tuple[int, ...],
        *,
        bias: bool = True,
    ):
        super().__init__(channels, width, patch, stride, padding="VALID", use_bias=bias, **KERNEL)
        self.cuts = tuple(zip(patch, stride, strict=True))

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Array, "batch *size channels"]
    ) -> Float[Array, "batch *grid width"]:
        """Maps every patch that `x` has room for."""
        for axis, (part, step) in enumerate(self.cuts):
            x = _cut(x, 2 * axis + 1, part, step)
        axes = range(1, x.ndim - 1)
        x = x.transpose(0, *axes[::2], *axes[1::2], x.ndim - 1)
        kernel = self.kernel[...].reshape(-1, self.out_features)
        y = x.reshape(*x.shape[: 1 + len(self.cuts)], len(kernel)) @ kernel
        if self.bias is None:
            return y
        return y + jnp.expand_dims(self.bias[...], range(y.ndim - 1))


def _cut(x: Array, axis: int, part: int, step: int) -> Array:
    """Two axes instead of one: the number of a piece, and the place in it."""
    number = max(0, (x.shape[axis] - part) // step + 1)
    if part == step:
        whole = jax.lax.slice_in_dim(x, 0, number * step, axis=axis)
        return whole.reshape(*x.shape[:axis], number, part, *x.shape[axis + 1 :])
    return jnp.take(x, np.arange(number)[:, None] * step + np.arange(part), axis, mode="clip")

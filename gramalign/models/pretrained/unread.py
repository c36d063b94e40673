"""What layers begin with whose weights are all read from a file: zeros.

To draw them would take a compiler long, of an encoder of forty layers, and with flax 0.12.8
counting the keys that nobody needs takes a trace of them the square of the number of layers.
"""

from typing import Any

from flax import nnx


class _NoKeys:
    """Stands where a layer of nnx takes an `nnx.Rngs`."""

    def params(self) -> None:
        """No key, as zeros and ones need none."""


_ZEROS = nnx.initializers.zeros_init()
NO_KEYS: Any = _NoKeys()
"""The `rngs` of a normalisation."""
KERNEL: dict[str, Any] = {"kernel_init": _ZEROS, "rngs": NO_KEYS}
"""What a linear map or a convolution takes."""
TABLE: dict[str, Any] = {"embedding_init": _ZEROS, "rngs": NO_KEYS}
"""What a table of embeddings takes."""

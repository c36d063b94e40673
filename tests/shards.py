"""Packed stores that are damaged."""

import numpy as np


def spoil(shard):
    """Changes a byte within a record."""
    content = bytearray(shard.read_bytes())
    used = np.flatnonzero(np.frombuffer(content, np.uint8))  # the rest is padding
    content[used[len(used) // 2]] ^= 0xFF
    shard.write_bytes(content)

"""Sounds, decoded."""

import numpy as np
from jaxtyping import Float

from gramalign.decoding.cut_short import check_whole, is_counted


def sound(path: str, rate: int) -> Float[np.ndarray, " samples"]:
    """The sound in a file, the mean of its channels, at a sampling rate.

    Raises:
        OSError: it is not there, or no file.
        RuntimeError: it is damaged, or no sound.
        ValueError: it has no samples, or NaN or Inf among them, or is cut short.
    """
    import soundfile
    import soxr

    check_whole(path)
    with soundfile.SoundFile(path) as file:
        told, own, channels = file.frames, file.samplerate, file.read(-1, "float32", always_2d=True)
    if len(channels) < 0.99 * told and is_counted(path):
        raise ValueError(
            f"it is cut short: of {told} samples that it says to hold, {len(channels)} are there"
        )
    found = channels.mean(axis=1)
    if own != rate:
        found = soxr.resample(found, own, rate)
    if not len(found):
        raise ValueError("it has no samples")
    if not np.isfinite(found).all():
        raise ValueError("it has NaN or Inf among its samples")
    return found


def windows(found: Float[np.ndarray, " samples"], size: int) -> list[np.ndarray]:
    """As few windows of a size as cover a sound, spread evenly, so that none is nearly empty.

    >>> [x.tolist() for x in windows(np.arange(5.0), 2)]
    [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]]
    >>> len(windows(np.ones(2), 2)), len(windows(np.ones(4), 2))
    (1, 2)
    """
    if len(found) <= size:
        return [found]
    starts = np.linspace(0, len(found) - size, -(-len(found) // size))
    return [found[start : start + size] for start in starts.astype(int).tolist()]

"""Many texts or files read in threads, in a way that can be written down."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grain

from gramalign.decoding.inputs import in_range
from gramalign.decoding.pieces import Kind, Pieces, reader

Read = Callable[[str], Pieces]
"""From a text, or the path of a file, to its pieces."""

_THREADS = 16  # at most: each holds two cells, of which long sounds may be large


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a reader depends on, JSON-compatible.

    Attributes:
        kind: as for `gramalign.decoding.pieces.reader`, as are the others.
        encoder: folder of the encoder.
        model_type: likewise.
        longest: likewise.
        frames: likewise.
        together: likewise.
        filled: likewise.
    """

    kind: Kind
    encoder: str
    model_type: str
    longest: int
    frames: int
    together: bool
    filled: bool

    def reader(self) -> Read:
        """The reader.

        Raises:
            ValueError: as `gramalign.decoding.pieces.reader`.
        """
        read = reader(
            *(self.kind, Path(self.encoder)),
            model_type=self.model_type,
            longest=self.longest,
            frames=self.frames,
            together=self.together,
            filled=self.filled,
        )
        return (lambda given: in_range(read(given))) if self.filled else read


def decoded(read: Read, inputs: Sequence[str]) -> Iterator[Pieces | str]:
    """What is read of each input, in their order, or why it cannot be."""
    threads = min(os.cpu_count() or 1, _THREADS, len(inputs))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    tried = functools.partial(_tried, read)
    return iter(grain.MapDataset.source(inputs).map(tried).to_iter_dataset(ahead))


def shortened(cell: str) -> str:
    """A text or a path for messages, in quotes."""
    return repr(cell if len(cell) <= 100 else f"{cell[:97]}...")


def _tried(read: Read, given: str) -> Pieces | str:
    try:
        return read(given)
    except MemoryError:  # which no file is to blame for
        raise
    except Exception as error:  # libraries have many kinds for damaged files
        notes = getattr(error, "__notes__", [])
        return " ".join(". ".join([str(error) or type(error).__name__, *notes]).split())

"""Many texts or files read in threads, in a way that can be written down."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grain

from gramalign.decoding.inputs import in_range
from gramalign.decoding.libraries import Prepares, processor, unusable
from gramalign.decoding.pictures import frames_of, picture
from gramalign.decoding.pieces import (
    Kind,
    Pieces,
    finite,
    image_pieces,
    sound_pieces,
    text_pieces,
    video_pieces,
)
from gramalign.decoding.wording import wording

Read = Callable[[str], Pieces]
"""From a text, or the path of a file, to its pieces."""

_THREADS = 16  # at most: each holds two cells, of which long sounds may be large
_PREPARED_BY: dict[Kind, Prepares] = {
    "text": "tokenizer",
    "image": "image processor",
    "video": "image processor",
    "audio": "feature extractor",
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the pieces of a cell depend on, JSON-compatible.

    Attributes:
        kind: what the cell is.
        encoder: folder that holds its tokenizer, image processor or feature extractor.
        model_type: the encoder's family.
        longest: most tokens of a text.
        places: most tokens that the encoder takes.
        frames: how many of a video's.
        together: whether these are one piece, for an encoder of videos; else one each.
        filled: for rows of inputs: all texts and sounds are made as long as the longest may be,
            and of a sound's windows only the middle one is prepared.
    """

    kind: Kind
    encoder: str
    model_type: str
    longest: int
    frames: int
    together: bool = False
    filled: bool = False
    places: int = 0

    def reader(self) -> Read:
        """A function from a cell to its pieces; threads may share it.

        It raises whatever the libraries do where a file cannot be decoded.

        Raises:
            ValueError: the folder has nothing that prepares this kind, or as `wording`.
        """
        folder, what = Path(self.encoder), _PREPARED_BY[self.kind]
        prepares = processor(folder, what)
        try:
            read = self._read_by(prepares)
        except Exception as error:
            # Of any kind, and better now than of every file, which might then count as missing.
            raise unusable(folder, what, error) from error
        checked = in_range if self.filled else finite
        return lambda given: checked(read(given))

    def _read_by(self, prepares: Any) -> Read:
        match self.kind:
            case "text":
                worded = wording(Path(self.encoder))
                of_text = text_pieces(
                    prepares,
                    self.longest,
                    model_type=self.model_type,
                    filled=self.filled,
                    places=self.places,
                )
                return lambda text: of_text(worded(text))
            case "image":
                of_images = image_pieces(prepares)
                return lambda path: of_images([picture(path)])
            case "video":
                of_frames = (
                    video_pieces(prepares, self.frames) if self.together else image_pieces(prepares)
                )
                return lambda path: of_frames(frames_of(path, self.frames))
            case "audio":
                return sound_pieces(prepares, filled=self.filled)


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

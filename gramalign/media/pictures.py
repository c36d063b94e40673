"""Images and videos, decoded."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def picture(path: str | Path) -> "Image.Image":
    """The image in a file, upright, in RGB; of an animation, its first frame.

    Raises:
        OSError: it is damaged, or no image.
        ValueError: it has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            # Converted, all but the darkest would be white.
            raise ValueError(f"its pixels are of mode {image.mode}: save it with 8 bits a channel")
        image = ImageOps.exif_transpose(image)
        if "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")


def frames_of(path: str, count: int) -> list["Image.Image"]:
    """Frames of a video spread evenly over it, or all if it has fewer.

    Args:
        path: a file, or a folder of images, whose names are in order.
        count: how many.

    Raises:
        OSError, ValueError: it is damaged, no video, or has no frame.
    """
    if Path(path).is_dir():
        return _of_folder(Path(path), count)
    import av

    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no video")
        stream = container.streams.video[0]
        length = sum(packet.size > 0 for packet in container.demux(stream))
    chosen = _spread(length, count)
    found = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number == chosen[len(found)]:
                image = frame.to_image()
                # Counter-clockwise, as PIL turns.
                found.append(image.rotate(frame.rotation, expand=True) if frame.rotation else image)
                if len(found) == len(chosen):
                    return found
    raise ValueError(f"it ends before frame {chosen[len(found)]} of {length}")


def _of_folder(folder: Path, count: int) -> list["Image.Image"]:
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    found = []
    for number in _spread(len(files), count):
        try:
            found.append(picture(files[number]))
        except Exception as error:
            error.add_note(f"That was {files[number].name}")
            raise
    return found


def _spread(length: int, count: int) -> list[int]:
    """The middle one of each of `count` equal parts of `length` frames.

    >>> _spread(100, 4), _spread(3, 8)
    ([12, 37, 62, 87], [0, 1, 2])
    """
    if not length:
        raise ValueError("it has no frames")
    return np.unique((2 * np.arange(count) + 1) * length // (2 * count)).tolist()

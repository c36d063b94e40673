"""Images and videos, decoded."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gramalign.decoding.cut_short import check_whole

if TYPE_CHECKING:
    from PIL import Image


def picture(path: str | Path) -> "Image.Image":
    """The image in a file, upright, in RGB and on white; of an animation, its first frame.

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
        if image.has_transparency_data:  # else colours would show that nobody sees
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")


def frames_of(path: str, count: int) -> list["Image.Image"]:
    """Frames of a video spread evenly over it, or all if it has fewer.

    Args:
        path: a file, or a folder of images, whose names are in order.
        count: how many.

    Raises:
        OSError, ValueError: it is damaged or cut short, no video, or has no frame.
    """
    if Path(path).is_dir():
        return _of_folder(Path(path), count)
    import av

    check_whole(path)
    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no video")
        stream = container.streams.video[0]
        times: list[Any] = []
        keys: list[Any] = []
        for packet in container.demux(stream):  # none of which is kept, as it holds its bytes
            if not packet.size:
                continue
            if not packet.is_discard:  # there to decode others, as where a film was cut uncoded
                times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        chosen = _spread(len(times), count)
        if None not in times:
            found = _at(container, stream, [sorted(times)[number] for number in chosen], keys)
            if len(found) == len(chosen):
                return found
    with av.open(path) as container:  # which does not say when, or not rightly
        frames = enumerate(container.decode(container.streams.video[0]))
        found = [_image(frame) for number, frame in frames if number in chosen]
    if len(found) < len(chosen):
        raise ValueError(f"it ends before frame {chosen[len(found)]} of {len(times)}")
    return found


def _at(container: Any, stream: Any, times: list[int], keys: list[int]) -> list["Image.Image"]:
    """The frames at some times; fewer where the container's times are not those of its frames.

    Only what is needed is decoded: from the last frame that is complete by itself, a key.
    """
    found, last = [], None
    frames = iter(())
    for time in times:
        key = max((key for key in keys if key <= time), default=None)
        if key is not None and (last is None or key > last):
            container.seek(key, stream=stream)
            frames = container.decode(stream)
        frame = next((x for x in frames if x.pts is None or x.pts >= time), None)
        if frame is None or frame.pts != time:
            break
        found.append(_image(frame))
        last = time
    return found


def _image(frame: Any) -> "Image.Image":
    image = frame.to_image()
    # Counter-clockwise, as PIL turns.
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


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
    """Which of `length` frames are taken.

    >>> _spread(100, 4), _spread(3, 8)
    ([12, 37, 62, 87], [0, 1, 2])
    """
    if not length:
        raise ValueError("it has no frames")
    return np.unique(spread(length, count)).tolist()


def spread(length: int, count: int) -> np.ndarray:
    """The middle one of each of `count` equal parts of `length`, again and again if it has fewer.

    >>> spread(100, 4).tolist(), spread(3, 4).tolist()
    ([12, 37, 62, 87], [0, 1, 1, 2])
    """
    return (2 * np.arange(count) + 1) * length // (2 * count)

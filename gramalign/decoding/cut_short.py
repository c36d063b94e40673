"""Whether a file ends before its sounds or pictures do, as after a broken download."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_ENOUGH = 0.99  # of the bytes, as some programs count a header too many
_STREAMED = 0x7FFF0000  # or more bytes say those that write to a pipe
_ABSURD = 2**40
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def check_whole(path: str) -> None:
    """Raises a ValueError if a WAV, AVI, MP4, MOV, Matroska or WebM file is shorter than it says.

    Other formats do not say, and neither do files that were written as a stream.
    """
    with open(path, "rb") as file:
        length = file.seek(0, os.SEEK_END)
        for begin, size in _parts(file):
            if length - begin < _ENOUGH * size:
                raise ValueError(
                    f"it is cut short: of {size} bytes that it says to hold, {length - begin} are "
                    "there"
                )


def is_counted(path: str) -> bool:
    """Whether the first frame of an MP3 says how many there are, as Xing's and LAME's do."""
    with open(path, "rb") as file:
        head = file.read(10)
        tag = 0
        if head.startswith(b"ID3"):  # whose size has 7 bits a byte
            tag = 10 + sum(byte << 7 * (9 - i) for i, byte in enumerate(head) if i > 5)
        file.seek(tag)
        frame = file.read(64)
    return b"Xing" in frame or b"Info" in frame


def _parts(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where what holds the sounds or pictures begins, and its size, as the file says."""
    file.seek(0)
    head = file.read(8)
    if head.startswith(b"RIFF"):
        return _chunks(file)
    if head[4:] in _BOXES:
        return _boxes(file)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _segment(file)
    return iter(())


def _chunks(file: BinaryIO) -> Iterator[tuple[int, int]]:
    begin = 12
    while file.seek(begin) and len(head := file.read(12)) >= 8:
        name, size = struct.unpack("<4sI", head[:8])
        if not 0 < size < _STREAMED:
            return
        begin += 8
        if name == b"data" or head[8:] in (b"hdrl", b"movi"):  # and not tags
            yield begin, size
        begin += size + size % 2


def _boxes(file: BinaryIO) -> Iterator[tuple[int, int]]:
    begin = file.seek(0)
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if size == 1:
            size = int.from_bytes(file.read(8))
        if not 8 <= size < _ABSURD:  # 0 is to the end of the file
            return
        if name == b"mdat":
            yield begin, size
        begin = file.seek(begin + size)


def _segment(file: BinaryIO) -> Iterator[tuple[int, int]]:
    file.seek(4)
    file.seek(min(_size(file), _ABSURD), os.SEEK_CUR)  # the header
    if file.read(4) == b"\x18\x53\x80\x67" and (size := _size(file)):
        yield file.tell(), size


def _size(file: BinaryIO) -> int:
    """A number that says by its first bit how many bytes it has; 0 where it is not known."""
    first = file.read(1) or b"\0"
    more = 8 - first[0].bit_length()
    size = int.from_bytes(first + file.read(more)) - (1 << 7 * (more + 1))
    return 0 if size == (1 << 7 * (more + 1)) - 1 else max(size, 0)

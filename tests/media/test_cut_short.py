"""Half a file is not taken for a whole one."""

import struct

import numpy as np
import pytest
import soundfile

from gramalign.decoding.cut_short import check_whole
from gramalign.decoding.pictures import frames_of
from gramalign.decoding.sounds import sound
from tests.media.made import RATE, write_sound, write_video


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    return pytest.raises(ValueError, match="it is cut short: of .* that it says to hold, .* are")


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
def test_films(tmp_path, name):
    write_video(tmp_path / name, range(0, 250, 3))
    assert len(frames_of(str(tmp_path / name), 4)) == 4
    with cut(tmp_path / name):
        frames_of(str(tmp_path / name), 4)


@pytest.mark.parametrize("name", ["a.wav", "constant.mp3", "variable.mp3", "tagged.mp3"])
def test_sounds(tmp_path, name):
    path = tmp_path / name
    write_sound(tmp_path / "a.wav", seed=1, seconds=1.0)
    samples = sound(str(tmp_path / "a.wav"), RATE)
    if name != "a.wav":
        mode = "CONSTANT" if name == "constant.mp3" else "VARIABLE"
        # Without a level, the mode is ignored.
        soundfile.write(path, samples, RATE, bitrate_mode=mode, compression_level=0.5)
    if name == "tagged.mp3":  # of 300 bytes
        path.write_bytes(b"ID3\4\0\0\0\0\2\x2c" + bytes(300) + path.read_bytes())
    assert len(sound(str(path), RATE)) == RATE
    with cut(path):
        sound(str(path), RATE)


def test_an_mp3_that_does_not_say_how_long_it_is_may_be_shorter_than_it_seems(tmp_path):
    path = tmp_path / "a.mp3"
    samples = 0.3 * np.random.default_rng(0).normal(size=3 * RATE)
    samples[: 2 * RATE] = 0  # so that the first frames are smaller than most
    soundfile.write(path, samples, RATE, bitrate_mode="VARIABLE", compression_level=0.5)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 2) :])  # without the frame that says it
    assert soundfile.info(path).frames > 5 * RATE
    assert 3 * RATE <= len(sound(str(path), RATE)) < 3.2 * RATE


def test_only_what_is_heard_and_seen_is_counted(tmp_path):
    """And not what a WAV ends with about them, nor what is no size at all."""
    path = tmp_path / "a.wav"
    write_sound(path, seed=1, seconds=1.0)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 26) + b"INFOISFT")
    assert len(sound(str(path), RATE)) == RATE
    path.write_bytes(struct.pack(">I4s", 1, b"free") + b"\xff" * 8)
    check_whole(str(path))
    path.write_bytes(b"\x1a\x45\xdf\xa3\x01\x7f" + b"\xff" * 6)
    check_whole(str(path))


def test_what_comes_before_the_data_may_have_an_odd_length(tmp_path):
    path = tmp_path / "a.wav"
    write_sound(path, seed=1, seconds=1.0)
    content = path.read_bytes()
    begin = content.index(b"data")
    about = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"
    path.write_bytes(content[:begin] + about + content[begin:])
    assert len(sound(str(path), RATE)) == RATE
    with cut(path):
        check_whole(str(path))


def test_a_size_of_64_bits(tmp_path):
    path = tmp_path / "a.mp4"
    box = struct.pack(">I4s", 12, b"ftyp") + b"isom" + struct.pack(">I4sQ", 1, b"mdat", 1016)
    path.write_bytes(box + bytes(1000))
    check_whole(str(path))
    with cut(path):
        check_whole(str(path))


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF, 2 * RATE + 44])
def test_a_sound_that_was_written_as_a_stream_does_not_know_its_size(tmp_path, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(RATE, 0.1), RATE, subtype="PCM_16")
    content = path.read_bytes()
    assert content[36:44] == b"data" + struct.pack("<I", 2 * RATE)
    path.write_bytes(content[:40] + struct.pack("<I", size) + content[44:])
    assert len(sound(str(path), RATE)) == RATE


def test_a_film_that_was_written_as_a_stream_does_not_know_its_size(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, range(0, 250, 3))
    content = bytearray(path.read_bytes())
    begin = content.index(b"\x18\x53\x80\x67") + 4
    content[begin : begin + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(content)
    assert len(frames_of(str(path), 4)) == 4

"""Filter banks against Kaldi's definition, in float64 NumPy."""

import json

import numpy as np
import pytest
import soundfile

from gramalign.decoding.filterbanks import FilterBanks
from gramalign.decoding.pieces import reader
from gramalign.media import features
from gramalign.models.pretrained import load
from tests.media.made import RATE, write_sound
from tests.media.test_inputs import pooled


def kaldi(samples, bands):
    """Log energies of 25 ms every 10, 512 frequencies, bands that are triangles in mel."""
    starts = range(0, len(samples) - 399, 160)
    frames = np.stack([samples[start : start + 400] for start in starts]) * 2.0**15
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    angle = 2 * np.pi * np.arange(400) / 399
    window = (0.5 - 0.5 * np.cos(angle)) ** 0.85  # Povey's
    power = np.abs(np.fft.rfft((frames - 0.97 * before) * window, 512)) ** 2

    def mel(hertz):
        return 1127 * np.log(1 + np.asarray(hertz) / 700)

    edges = np.linspace(mel(20), mel(RATE / 2), bands + 2)
    at = mel(np.arange(257) * RATE / 512)[:, None]
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    energy = power @ np.maximum(0, np.minimum(up, down))
    return np.log(np.maximum(energy, np.finfo(np.float32).eps))


@pytest.mark.parametrize("bands", [10, 64, 128])
@pytest.mark.parametrize("loud", [0.3, 1e-5, 0.0])
def test_they_are_kaldis(bands, loud):
    samples = loud * np.random.default_rng(0).normal(size=4000) + 0.01  # and an offset
    found = FilterBanks(bands, 30)([samples.astype(np.float32)])["input_values"]
    assert found.shape == (1, 30, bands) and found.dtype == np.float32
    wanted = (kaldi(samples.astype(np.float32).astype(float), bands) - 15.41663) / (2 * 6.55582)
    assert len(wanted) == 23
    # An offset of 0.01 leaves float32 samples that are rounded where loud is small.
    np.testing.assert_allclose(found[0, :23], wanted, atol=1e-4 if loud else 1e-6)
    assert not found[0, 23:].any(), "silence that fills a window is 0"


def test_a_sound_shorter_than_a_frame_has_one_and_a_longer_one_is_cut():
    found = FilterBanks(10, 14)([np.ones(9, np.float32), np.ones(9000, np.float32)])["input_values"]
    assert found.shape == (2, 14, 10)
    assert found[0, 0].any() and not found[0, 1:].any()
    assert found[1].all()


@pytest.fixture
def table(tmp_path):
    """Sounds of one window, and of two, of 400 + 13 * 160 samples."""
    for number, seconds in ((1, 0.1), (2, 0.3)):
        write_sound(tmp_path / f"sounds/{number}.wav", number, seconds=seconds)
    (tmp_path / "media.csv").write_text("sound\nsounds/1.wav\nsounds/2.wav\n")
    return tmp_path / "media.csv"


def test_beats_hears_windows_of_them(table, encoders, tmp_path):
    folder = encoders / "beats"
    read = reader("audio", folder, model_type="beats", longest=0, frames=1)
    samples, _ = soundfile.read(table.parent / "sounds/2.wav", dtype="float32")
    pieces = read(str(table.parent / "sounds/2.wav"))
    assert pieces.keys() == {"input_values"}
    parts = [samples[:2480], samples[4800 - 2480 :]]
    np.testing.assert_array_equal(
        pieces["input_values"], FilterBanks(10, 14)(parts)["input_values"]
    )

    found = features(table, tmp_path / "store", audio={"sound": folder}).features["sound"]
    wanted = load(folder, "audio")(pieces).mean(axis=0)
    np.testing.assert_allclose(found[1], wanted, atol=2e-5)


def test_what_it_takes_is_kept_for_its_tower(table, encoders, tmp_path):
    given = {"sound": encoders / "beats"}
    kept = features(table, tmp_path / "inputs", audio=given, inputs=True).features["sound"]
    wanted = features(table, tmp_path / "store", audio=given).features["sound"]
    assert kept.shape == (2, 140)
    found = pooled(encoders / "beats", "sound", np.asarray(kept))
    np.testing.assert_allclose(found[0], np.asarray(wanted)[0, :4], atol=5e-3)


def test_its_configuration_says_how_many_there_are(encoders, table, tmp_path):
    settings = json.loads((encoders / "beats" / "config.json").read_text())
    assert (settings["num_mel_bins"], settings["max_length"]) == (10, 14)
    (tmp_path / "config.json").write_text('{"model_type": "beats"}')
    read = reader("audio", tmp_path, model_type="beats", longest=0, frames=1)
    assert read(str(table.parent / "sounds/1.wav"))["input_values"].shape == (1, 1024, 128)

"""Filter banks against Kaldi's definition, in float64 NumPy."""

import json

import numpy as np
import pytest
import soundfile
from transformers import ASTFeatureExtractor

from gramalign.decoding.filterbanks import FilterBanks
from gramalign.decoding.libraries import processor
from gramalign.decoding.reading import Reading
from gramalign.media import features
from gramalign.models.pretrained import load
from tests.media.made import RATE, write_sound
from tests.media.test_inputs import pooled


def kaldi(samples, bands, window):
    """Log energies of 25 ms every 10, 512 frequencies, bands that are triangles in mel."""
    starts = range(0, len(samples) - 399, 160)
    frames = np.stack([samples[start : start + 400] for start in starts])
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    shape = shape**0.85 if window == "povey" else shape
    power = np.abs(np.fft.rfft((frames - 0.97 * before) * shape, 512)) ** 2

    def mel(hertz):
        return 1127 * np.log(1 + np.asarray(hertz) / 700)

    edges = np.linspace(mel(20), mel(RATE / 2), bands + 2)
    at = mel(np.arange(257) * RATE / 512)[:, None]
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    energy = power @ np.maximum(0, np.minimum(up, down))
    return np.log(np.maximum(energy, np.finfo(np.float32).eps))


BEATS = {"window": "povey", "scale": 2.0**15, "mean": 15.41663, "std": 6.55582, "silence": 15.4}
IMAGEBIND = {"mean": -4.268, "std": 4.569}
AST = {"mean": -4.2677393, "std": 4.5689974}


def banks_of(sounds, **settings):
    return FilterBanks(settings)([np.asarray(sound, np.float32) for sound in sounds])[
        "input_values"
    ]


@pytest.mark.parametrize("bands", [10, 64, 128])
@pytest.mark.parametrize("loud", [0.3, 1e-3, 0.0])
@pytest.mark.parametrize("settings", [BEATS, IMAGEBIND, AST])
def test_they_are_kaldis(settings, bands, loud):
    samples = loud * np.random.default_rng(0).normal(size=4000) + 0.25  # and an offset
    samples = samples.astype(np.float32)
    found = banks_of([samples], **settings, num_mel_bins=bands, max_length=30)
    assert found.shape == (1, 30, bands) and found.dtype == np.float32
    wanted = samples.astype(float) * settings.get("scale", 1)
    wanted = kaldi(wanted, bands, settings.get("window", "hann"))
    assert len(wanted) == 23
    mean, spread = settings["mean"], 2 * settings["std"]
    np.testing.assert_allclose(found[0, :23], (wanted - mean) / spread, atol=1e-4)
    silence = (settings.get("silence", 0) - mean) / spread
    np.testing.assert_allclose(found[0, 23:], silence, atol=1e-6)


def test_a_sound_shorter_than_a_frame_has_one_and_a_longer_one_is_cut():
    sounds = [np.ones(9), np.ones(9000)]
    found = banks_of(sounds, **{**BEATS, "silence": BEATS["mean"]}, max_length=14, num_mel_bins=10)
    assert found.shape == (2, 14, 10)
    assert found[0, 0].any() and not found[0, 1:].any()
    assert found[1].all()


def test_they_may_not_be_normalised():
    sound = np.random.default_rng(0).normal(size=4000)
    raw = banks_of([sound], do_normalize=False)
    assert raw.shape == (1, 1024, 128)
    np.testing.assert_allclose(raw, banks_of([sound]) * 9.1379948 - 4.2677393, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sampling_rate": 8000}, "sampling_rate is 8000, expected 16000"),
        ({"window": "blackman"}, "window is 'blackman', expected 'hann' or 'povey'"),
    ],
)
def test_others_are_refused(change, told, encoders, tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"feature_extractor_type": "ASTFeatureExtractor", **change}))
    with pytest.raises(ValueError, match=f"has no feature extractor that can be used here: {told}"):
        processor(tmp_path, "feature extractor")


def test_those_of_ast_are_hugging_faces(tmp_path):
    pytest.importorskip("torch")  # their extractor needs it
    sound = 0.1 * np.random.default_rng(0).normal(size=9000).astype(np.float32)
    extractor = ASTFeatureExtractor(max_length=60, num_mel_bins=64)
    wanted = extractor(sound, sampling_rate=RATE, return_tensors="np")["input_values"]
    extractor.save_pretrained(tmp_path)
    found = processor(tmp_path, "feature extractor")
    assert isinstance(found, FilterBanks)
    np.testing.assert_allclose(found([sound])["input_values"], wanted, atol=1e-4)


@pytest.fixture
def table(tmp_path):
    """Sounds of one window, and of two, of 400 + 13 * 160 samples."""
    for number, seconds in ((1, 0.1), (2, 0.3)):
        write_sound(tmp_path / f"sounds/{number}.wav", number, seconds=seconds)
    (tmp_path / "media.csv").write_text("sound\nsounds/1.wav\nsounds/2.wav\n")
    return tmp_path / "media.csv"


def test_beats_hears_windows_of_them(table, encoders, tmp_path):
    folder = encoders / "beats"
    read = Reading("audio", str(folder), model_type="beats", longest=0, frames=1).reader()
    samples, _ = soundfile.read(table.parent / "sounds/2.wav", dtype="float32")
    pieces = read(str(table.parent / "sounds/2.wav"))
    assert pieces.keys() == {"input_values"}
    parts = [samples[:2480], samples[4800 - 2480 :]]
    np.testing.assert_array_equal(
        pieces["input_values"], processor(folder, "feature extractor")(parts)["input_values"]
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

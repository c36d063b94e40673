"""Filter banks against Kaldi's definition, in float64 NumPy."""

import json

import numpy as np
import pytest
import soundfile
from transformers import ASTFeatureExtractor

from gramalign.decoding.filterbanks import filter_banks
from gramalign.decoding.pieces import reader
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


@pytest.fixture
def of(tmp_path):
    """The filter banks of a family, with some settings."""

    def made(model_type, **settings):
        for name in ("config.json", "preprocessor_config.json"):
            (tmp_path / name).write_text(json.dumps(settings))
        return filter_banks(tmp_path, model_type)

    return made


AST = "audio-spectrogram-transformer"
FAMILIES = {
    # The window, the scale of samples, mean and standard deviation, and the value of silence.
    "beats": ("povey", 2**15, 15.41663, 6.55582, 0.0),
    AST: ("hann", 1, -4.2677393, 4.5689974, 4.2677393 / 9.1379948),
    "imagebind": ("hann", 1, -4.268, 4.569, 4.268 / 9.138),
}


@pytest.mark.parametrize("bands", [10, 64, 128])
@pytest.mark.parametrize("loud", [0.3, 1e-3, 0.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_kaldis(of, family, bands, loud):
    window, scale, mean, std, silence = FAMILIES[family]
    names = ("audio_num_mel_bins", "audio_target_len")
    names = names if family == "imagebind" else ("num_mel_bins", "max_length")
    banks = of(family, **dict(zip(names, (bands, 30), strict=True)))
    samples = loud * np.random.default_rng(0).normal(size=4000) + 0.25  # and an offset
    samples = samples.astype(np.float32)
    found = banks([samples])["input_values"]
    assert found.shape == (1, 30, bands) and found.dtype == np.float32
    wanted = (kaldi(samples.astype(float) * scale, bands, window) - mean) / (2 * std)
    assert len(wanted) == 23
    np.testing.assert_allclose(found[0, :23], wanted, atol=1e-4)
    np.testing.assert_allclose(found[0, 23:], silence, atol=1e-6)


def test_where_a_configuration_is_silent(of):
    for family, shape in (("beats", (1024, 128)), (AST, (1024, 128)), ("imagebind", (204, 128))):
        assert of(family)([np.ones(9, np.float32)])["input_values"].shape == (1, *shape)
    assert of("whisper") is None


def test_a_sound_shorter_than_a_frame_has_one_and_a_longer_one_is_cut(of):
    banks = of("beats", num_mel_bins=10, max_length=14)
    found = banks([np.ones(9, np.float32), np.ones(9000, np.float32)])["input_values"]
    assert found.shape == (2, 14, 10)
    assert found[0, 0].any() and not found[0, 1:].any()
    assert found[1].all()


def test_asts_may_not_be_normalised_and_are_of_one_rate(of):
    samples = [np.random.default_rng(0).normal(size=4000).astype(np.float32)]
    normal, raw = of(AST)(samples), of(AST, do_normalize=False)(samples)
    back = normal["input_values"] * 9.1379948 - 4.2677393
    np.testing.assert_allclose(raw["input_values"], back, atol=2e-5)
    with pytest.raises(ValueError, match="sampling_rate is 8000, expected 16000"):
        of(AST, sampling_rate=8000)


def test_asts_need_their_settings(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json does not exist, expected what Huggi"):
        filter_banks(tmp_path, AST)


def test_asts_are_hugging_faces(of):
    pytest.importorskip("torch")  # their extractor needs it
    samples = 0.1 * np.random.default_rng(0).normal(size=9000).astype(np.float32)
    extractor = ASTFeatureExtractor(max_length=60, num_mel_bins=64)
    wanted = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_values"]
    found = of(AST, max_length=60, num_mel_bins=64)([samples])["input_values"]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


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
        pieces["input_values"], filter_banks(folder, "beats")(parts)["input_values"]
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

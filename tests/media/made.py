"""Tiny encoders as Hugging Face saves them, with all that prepares their inputs, and media."""

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import soundfile
import tokenizers
from PIL import Image

from tests.models.pretrained.tiny import golden, write_model

WORDS = "a the cat dog bird sees hears red small large one two three four".split()
RATE = 16000


def _write(path: Path, **content) -> None:
    path.write_text(json.dumps(content))


def write_tokenizer(folder: Path, longest: int = 12) -> None:
    """A token for each word; the last of a text is the end that CLIP looks for."""
    special = {"[PAD]": 0, "[UNK]": 1, "[END]": 49}
    words = {word: 2 + number for number, word in enumerate(WORDS)}
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({**special, **words}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", 49)]
    )
    made.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[END]"}
    _write(
        folder / "tokenizer_config.json",
        **names,
        tokenizer_class="PreTrainedTokenizerFast",
        model_max_length=longest,
    )


def write_encoders(folder: Path) -> Path:
    """Folders clip, bert, whisper, beats, videomae, and of samples hubert, wav2vec2 with a mask."""
    cases = golden()
    clip = write_model(folder / "clip", cases["clip image"])
    write_tokenizer(clip)
    size = {"height": 12, "width": 12}
    _write(
        clip / "preprocessor_config.json",
        image_processor_type="CLIPImageProcessor",
        size={"shortest_edge": 12},
        crop_size=size,
    )
    write_tokenizer(write_model(folder / "bert", cases["bert text"]), longest=512)
    whisper = write_model(folder / "whisper", cases["whisper audio"])
    _write(
        whisper / "preprocessor_config.json",
        feature_extractor_type="WhisperFeatureExtractor",
        feature_size=8,
        sampling_rate=RATE,
        hop_length=800,
        chunk_length=1,
        n_fft=1600,
    )
    _write(
        write_model(folder / "videomae", cases["videomae video"]) / "preprocessor_config.json",
        image_processor_type="VideoMAEImageProcessor",
        size={"shortest_edge": 12},
        crop_size={"height": 12, "width": 8},
    )
    _write(
        write_model(folder / "beats", cases["large beats audio"]) / "preprocessor_config.json",
        **{"feature_extractor_type": "FilterBanks", "num_mel_bins": 10, "max_length": 14},
        **{"window": "povey", "scale": 32768.0, "mean": 15.41663, "std": 6.55582},
        silence=15.41663,
    )
    for name, case, mask in (
        ("hubert", "hubert for words audio", False),
        ("wav2vec2", "large wav2vec2 audio", True),
    ):
        _write(
            write_model(folder / name, cases[case]) / "preprocessor_config.json",
            feature_extractor_type="Wav2Vec2FeatureExtractor",
            sampling_rate=RATE,
            return_attention_mask=mask,
        )
    return folder


def pixels(seed: int, height: int = 20, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)


def write_sound(path: Path, seed: int, seconds: float, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    samples = np.random.default_rng(seed).normal(size=(round(seconds * rate), channels))
    soundfile.write(path, 0.1 * samples, rate, subtype="FLOAT")


def write_video(path: Path, greys: Sequence[int], width: int = 32, **options: str) -> None:
    """A frame of one grey after the other, whose upper half is darker."""
    path.parent.mkdir(exist_ok=True)
    # Or each change of grey would be a new scene, which begins at a key.
    options = {"sc_threshold": "1000000000", **options}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options=options)
        stream.width, stream.height = width, 32
        stream.pix_fmt = "yuv420p"
        for grey in greys:
            pixels = np.full((32, width, 3), grey, np.uint8)
            pixels[:16] = grey // 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())

"""What BEATs, AST and ImageBind hear of a sound: log-mel filter banks."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gramalign.files import read_json

_RATE, _FRAME, _HOP = 16_000, 400, 160
_EPS = float(np.finfo(np.float32).eps)
BANDS, FRAMES = 128, 1024
"""Of BEATs and AST, where a configuration does not say."""


class FilterBanks:
    """Kaldi's log-mel filter banks, in the form of a feature extractor of Hugging Face.

    They are of 25 ms every 10 ms, less `mean`, divided by twice `std`.

    Args:
        bands: number of frequency bands.
        frames: number of frames of every window of a sound.
        window: what a frame is multiplied by.
        mean: of what the encoder was trained on.
        std: its standard deviation.
        scale: what samples in [-1, 1] are multiplied by.
        silence: the value, before it is normalised, of the frames that fill a window.
    """

    sampling_rate = _RATE
    model_input_names = ("input_values",)

    def __init__(
        self,
        bands: int,
        frames: int,
        *,
        window: Literal["povey", "hann"],
        mean: float,
        std: float,
        scale: float = 1.0,
        silence: float = 0.0,
    ):
        from transformers import audio_utils

        self.max_length = frames
        self._mean, self._std, self._scale, self._silence = mean, std, scale, silence
        self._window = audio_utils.window_function(_FRAME, window, periodic=False)
        with warnings.catch_warnings():
            # 128 bands are so narrow that no frequency is in the lowest of them.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero")
            self._filters = audio_utils.mel_filter_bank(
                num_frequency_bins=257,
                num_mel_filters=bands,
                min_frequency=20,
                max_frequency=_RATE // 2,
                sampling_rate=_RATE,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )

    def __call__(
        self, windows: Sequence[np.ndarray], **_: Any
    ) -> dict[str, Float[np.ndarray, "windows frames bands"]]:
        """The filter banks of some windows of a sound.

        Args:
            windows: samples; those beyond `max_length` frames do not count.
        """
        shape = len(windows), self.max_length, self._filters.shape[1]
        found = np.full(shape, self._silence, np.float32)
        for window, samples in zip(found, windows, strict=True):
            banks = self._banks(samples)[: self.max_length]
            window[: len(banks)] = banks
        return {"input_values": (found - np.float32(self._mean)) / np.float32(2 * self._std)}

    def _banks(self, samples: np.ndarray) -> np.ndarray:
        from transformers import audio_utils

        samples = np.pad(samples, (0, max(0, _FRAME - len(samples))))
        return audio_utils.spectrogram(
            samples * self._scale,
            self._window,
            frame_length=_FRAME,
            hop_length=_HOP,
            fft_length=512,
            power=2.0,
            center=False,
            preemphasis=0.97,
            mel_filters=self._filters,
            log_mel="log",
            mel_floor=_EPS,
            remove_dc_offset=True,
        ).T


def filter_banks(folder: Path, model_type: str) -> FilterBanks | None:
    """Those that the encoder in a folder takes; None if it takes something else.

    BEATs' are as its authors compute them (arXiv 2212.09058), and what fills a window is the mean
    of all sounds, as VAST and GRAM have it. AST's (arXiv 2104.01778) and ImageBind's (arXiv
    2305.05665), which has AST's numbers, are of samples that are not scaled.

    Raises:
        FileNotFoundError, ValueError: a file of the folder is missing, damaged, or asks for another
            sampling rate.
    """
    match model_type:
        case "beats":
            config = read_json(folder / "config.json")
            bands, frames = config.get("num_mel_bins", BANDS), config.get("max_length", FRAMES)
            mean, std = 15.41663, 6.55582
            normal = {"mean": mean, "std": std, "silence": mean}
            return FilterBanks(bands, frames, window="povey", scale=2.0**15, **normal)
        case "imagebind":
            config = read_json(folder / "config.json")
            bands = config.get("audio_num_mel_bins", 128)
            frames = config.get("audio_target_len", 204)
            return FilterBanks(bands, frames, window="hann", mean=-4.268, std=9.138 / 2)
        case "audio-spectrogram-transformer":
            return _of_ast(folder / "preprocessor_config.json")
        case _:
            return None


def _of_ast(path: Path) -> FilterBanks:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist, expected what Hugging Face saves beside a model of sounds"
        )
    config = read_json(path)
    if (rate := config.get("sampling_rate", _RATE)) != _RATE:
        raise ValueError(f"{path}: sampling_rate is {rate}, expected {_RATE}")
    normal = {"mean": config.get("mean", -4.2677393), "std": config.get("std", 4.5689974)}
    if not config.get("do_normalize", True):
        normal = {"mean": 0.0, "std": 0.5}
    bands, frames = config.get("num_mel_bins", BANDS), config.get("max_length", FRAMES)
    return FilterBanks(bands, frames, window="hann", **normal)

"""What BEATs hears of a sound: log-mel filter banks."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

_RATE, _FRAME, _HOP = 16_000, 400, 160
_MEAN, _STD = 15.41663, 6.55582  # of what BEATs was trained on
BANDS, FRAMES = 128, 1024
"""Where an encoder's configuration does not say."""
_EPS = float(np.finfo(np.float32).eps)


class FilterBanks:
    """Kaldi's log-mel filter banks, in the form of a feature extractor of Hugging Face.

    As BEATs' authors compute them (arXiv 2212.09058): 25 ms every 10 ms, Povey's window. Silence
    that fills a window is 0, the mean of all sounds.

    Args:
        bands: number of frequency bands.
        frames: number of frames of every window.
    """

    sampling_rate = _RATE
    model_input_names = ("input_values",)

    def __init__(self, bands: int, frames: int):
        from transformers import audio_utils

        self.max_length = frames
        self._window = audio_utils.window_function(_FRAME, "povey", periodic=False)
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
            windows: samples, each at most as many as fill `max_length` frames.
        """
        found = np.zeros((len(windows), self.max_length, self._filters.shape[1]), np.float32)
        for window, samples in zip(found, windows, strict=True):
            banks = self._banks(samples)[: self.max_length]
            window[: len(banks)] = banks
        return {"input_values": found}

    def _banks(self, samples: np.ndarray) -> np.ndarray:
        from transformers import audio_utils

        samples = np.pad(samples, (0, max(0, _FRAME - len(samples))))
        found = audio_utils.spectrogram(
            samples * 2**15,
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
        )
        return (found.T - _MEAN) / (2 * _STD)

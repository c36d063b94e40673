"""Log-mel filter banks, as AST, ImageBind and BEATs take them, without torch."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gramalign.settings import settled

_RATE, _FRAME, _HOP = 16_000, 400, 160
_EPS = float(np.finfo(np.float32).eps)
_SETTINGS: Mapping[str, Any] = {  # where a feature extractor's configuration is silent
    **{"num_mel_bins": 128, "max_length": 1024, "sampling_rate": _RATE},
    **{"do_normalize": True, "mean": -4.2677393, "std": 4.5689974},
    **{"window": "hann", "scale": 1.0, "silence": 0.0},
}


class FilterBanks:
    """Kaldi's log-mel filter banks: of 25 ms every 10 ms, less `mean`, divided by twice `std`.

    Hugging Face's for AST, which need torch, have all settings but the last three. These are the
    `window` that frames are multiplied by, "hann" or "povey"; the `scale` of samples; and the value
    of `silence`, before it is normalised, in frames that fill a window of the sound.

    Args:
        settings: of `preprocessor_config.json`.

    Raises:
        ValueError: for another sampling rate than 16 kHz, an unknown window, or a setting of
            another kind.
    """

    sampling_rate = _RATE
    model_input_names = ("input_values",)

    def __init__(self, settings: Mapping[str, Any]):
        settings = settled(_SETTINGS, settings)
        if (rate := settings["sampling_rate"]) != _RATE:
            raise ValueError(f"sampling_rate is {rate}, expected {_RATE}")
        if (window := settings["window"]) not in ("hann", "povey"):
            raise ValueError(f"window is {window!r}, expected 'hann' or 'povey'")
        from transformers import audio_utils

        self.max_length = settings["max_length"]
        self._scale, self._silence = settings["scale"], settings["silence"]
        normal = settings["mean"], 2 * settings["std"]
        self._mean, self._spread = map(np.float32, normal if settings["do_normalize"] else (0, 1))
        self._window = audio_utils.window_function(_FRAME, window, periodic=False)
        with warnings.catch_warnings():
            # 128 bands are so narrow that no frequency is in the lowest of them.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero")
            self._filters = audio_utils.mel_filter_bank(
                num_frequency_bins=257,
                num_mel_filters=settings["num_mel_bins"],
                min_frequency=20,
                max_frequency=_RATE // 2,
                sampling_rate=_RATE,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )

    def __call__(
        self, sounds: Sequence[np.ndarray], **_: Any
    ) -> dict[str, Float[np.ndarray, "sounds frames bands"]]:
        """Makes `input_values`; other arguments, such as a length, change nothing.

        Args:
            sounds: samples; those beyond `max_length` frames do not count.
        """
        shape = len(sounds), self.max_length, self._filters.shape[1]
        found = np.full(shape, self._silence, np.float32)
        for filled, sound in zip(found, sounds, strict=True):
            banks = self._banks(sound)[: self.max_length]
            filled[: len(banks)] = banks
        return {"input_values": (found - self._mean) / self._spread}

    def _banks(self, sound: np.ndarray) -> np.ndarray:
        from transformers import audio_utils

        sound = np.pad(sound, (0, max(0, _FRAME - len(sound))))
        return audio_utils.spectrogram(
            sound * self._scale,
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

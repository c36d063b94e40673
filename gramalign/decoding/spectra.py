"""Spectra as CLAP takes them, which Hugging Face's feature extractor makes with torch alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gramalign.settings import settled

_SETTINGS: Mapping[str, Any] = {  # where a feature extractor's configuration is silent
    **{"feature_size": 64, "sampling_rate": 48_000, "hop_length": 480, "fft_window_size": 1024},
    **{"max_length_s": 10, "frequency_min": 0.0, "frequency_max": 14_000.0},
    **{"truncation": "fusion", "padding": "repeatpad"},
}
_PADDING = ("repeatpad", "repeat", "pad")


class Spectra:
    """Makes decibels in mel bands of sounds of one length; a shorter one is repeated.

    Args:
        settings: of `preprocessor_config.json`.

    Raises:
        ValueError: for a model that fuses parts of a sound, an unknown way of padding, or a setting
            of another kind.
    """

    model_input_names = ("input_features",)

    def __init__(self, settings: Mapping[str, Any]):
        settings = settled(_SETTINGS, settings)
        if settings["truncation"] != "rand_trunc":
            raise ValueError(
                f"truncation is {settings['truncation']!r}, expected 'rand_trunc', as of a CLAP "
                "without fusion"
            )
        if settings["padding"] not in _PADDING:
            raise ValueError(f"padding is {settings['padding']!r}, expected any of {_PADDING}")
        from transformers.audio_utils import mel_filter_bank, window_function

        self.sampling_rate, self.padding = settings["sampling_rate"], settings["padding"]
        self.n_samples = settings["max_length_s"] * self.sampling_rate
        self.hop, self.size = settings["hop_length"], settings["fft_window_size"]
        self.window = window_function(self.size, "hann")
        self.bands = mel_filter_bank(
            num_frequency_bins=self.size // 2 + 1,
            num_mel_filters=settings["feature_size"],
            min_frequency=settings["frequency_min"],
            max_frequency=settings["frequency_max"],
            sampling_rate=self.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )

    def __call__(
        self, sounds: Sequence[Float[np.ndarray, " _"]], **_: Any
    ) -> dict[str, Float[np.ndarray, "sounds 1 frames bands"]]:
        """Makes `input_features`; other arguments, such as a length, change nothing.

        Args:
            sounds: of at most `n_samples` samples each.
        """
        return {"input_features": np.stack([self._spectrum(sound) for sound in sounds])[:, None]}

    def _spectrum(self, sound: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames bands"]:
        from transformers.audio_utils import spectrogram

        found = spectrogram(
            self._filled(np.asarray(sound, np.float64)),
            self.window,
            frame_length=self.size,
            hop_length=self.hop,
            power=2.0,
            mel_filters=self.bands,
            log_mel="dB",
        )
        return found.T

    def _filled(self, sound: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " n_samples"]:
        match self.padding:
            case "repeat":
                sound = np.resize(sound, self.n_samples)
            case "repeatpad":  # as often as it fits as a whole
                sound = np.tile(sound, self.n_samples // len(sound))
        return np.pad(sound, (0, self.n_samples - len(sound)))

"""The packages of the extra `pretrained`, and what Hugging Face's has for an encoder's folder."""

import logging
import os
from pathlib import Path
from typing import Any, Literal

from gramalign.decoding.filterbanks import FilterBanks
from gramalign.decoding.folders import preparing
from gramalign.decoding.spectra import Spectra
from gramalign.decoding.unrounded import Unrounded
from gramalign.extras import check_extra
from gramalign.settings import read_settings, settled

Prepares = Literal["tokenizer", "image processor", "feature extractor"]
"""What makes inputs of texts, of images and videos, of sounds."""

_PACKAGES = {
    "transformers": "transformers",
    "PIL": "pillow",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "av": "av",
}
_CLASSES = {
    "tokenizer": "AutoTokenizer",
    "image processor": "AutoImageProcessor",
    "feature extractor": "AutoFeatureExtractor",
}
_KINDS: dict[str, Any] = {  # of settings that Hugging Face would stumble over
    **{"image_processor_type": "", "feature_extractor_type": "", "rescale_factor": 1.0},
    **dict.fromkeys(("sampling_rate", "feature_size", "hop_length", "n_fft", "chunk_length"), 1),
}
_MADE_HERE = {
    "ASTFeatureExtractor": FilterBanks,
    "ClapFeatureExtractor": Spectra,
    "DINOv3ViTImageProcessor": Unrounded,
    "FilterBanks": FilterBanks,  # which Hugging Face does not have
}


def check_installed() -> None:
    """Raises a ValueError that names the cure if a package of the extra is missing."""
    check_extra("pretrained", "reading media", **_PACKAGES)


def processor(folder: Path, what: Prepares) -> Any:
    """What prepares a text, an image or a sound for the encoder in a folder, as NumPy arrays.

    Nothing is downloaded, and code that lies in the folder is not run.

    Raises:
        ValueError: the folder has none, or it needs a package that is not installed.
    """
    if what == "tokenizer" and any(folder.glob("*.model")):
        # Or another tokenizer may be taken in its place, which splits texts otherwise.
        check_extra("pretrained", f"the tokenizer of {folder}", sentencepiece="sentencepiece")
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (path := folder / name).is_file():
            read_settings(path)
    # That there is no PyTorch is no news.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import transformers

    logging.getLogger("transformers.configuration_utils").addFilter(_is_news)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if what == "image processor":
        options["backend"] = "pil"  # and not torchvision's where there is one: it rounds otherwise
    try:
        if what != "tokenizer" and (own := _made_here(folder, what)):
            return own
        return getattr(transformers, _CLASSES[what]).from_pretrained(str(folder), **options)
    except Exception as error:  # of any kind, where a file says what no library expects
        raise unusable(folder, what, error) from error


def unusable(folder: Path, what: Prepares, error: Exception) -> ValueError:
    """What is wrong with what prepares inputs."""
    reason = " ".join(str(error).split())
    if not isinstance(error, OSError | ValueError | ImportError):
        reason = f"{type(error).__name__}: {reason}"
    path = folder / "tokenizer_config.json" if what == "tokenizer" else preparing(folder, what)[0]
    see = f"; see {path.name}" if path.is_file() and path.name not in reason else ""
    return ValueError(f"{folder} has no {what} that can be used here: {reason}{see}")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether it says more than that Hugging Face has no model of a family, such as ImageBind."""
    return "to instantiate a model of type" not in record.getMessage()


def _made_here(
    folder: Path, what: Literal["image processor", "feature extractor"]
) -> FilterBanks | Spectra | Unrounded | None:
    """What Hugging Face has with torch or torchvision alone, by the name that settings give it."""
    _, settings = preparing(folder, what)
    settled({each: kind for each, kind in _KINDS.items() if each in settings}, settings)
    name = settings.get(f"{what.replace(' ', '_')}_type")
    made = _MADE_HERE.get(str(name).removesuffix("Fast"))
    return made and made(settings)

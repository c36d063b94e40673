"""Emoji: two makers' drawings, names and keywords in three languages, and synthetic speech.

Read from `emoji_views.npz` (pixels and log-mel frames as bytes) and `emoji_texts.jsonl` (one object
a row, with `code` and `text`). The features are plain on purpose, so that a comparison of
objectives needs no pretrained encoder:

- `noto`, `emojitwo`: the pixels of the drawing, in [0, 1]; some emoji lack the second drawing
- `english`, `german`, `french`: character n-grams of name and keywords, hashed and counted
- `speech`: mean and standard deviation over time of each log-mel band, in natural logarithms. The
  speech is synthetic (espeak-ng), so `english` and `speech` say the same words.
"""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from .prepare_errors import RawDataError, existing

LANGUAGES = {"english": "en", "german": "de", "french": "fr"}

_NGRAMS = (2, 4)  # lengths, within words


def emoji(folder: Path, text_width: int = 1024) -> dict[str, np.ndarray]:
    """The six views, which rows have the second drawing, and the emoji's codes as ids.

    Raises:
        RawDataError: a file is missing, damaged, or does not fit the other.
    """
    raw = _views(existing(folder, "emoji_views.npz"))
    file = existing(folder, "emoji_texts.jsonl")
    codes, texts = _texts(file)
    if len(codes) != len(raw["image_noto"]):
        raise RawDataError(
            f"{file} has {len(codes)} rows, but emoji_views.npz has {len(raw['image_noto'])}: "
            "row i of both is one emoji"
        )
    return {
        "noto": _pixels(raw["image_noto"]),
        "emojitwo": _pixels(raw["image_emojitwo"]),
        "present.emojitwo": raw["has_emojitwo"],
        **{language: _ngrams(texts[language], text_width) for language in LANGUAGES},
        "speech": _bands(raw["speech_logmel"], raw["speech_frames"]),
        "ids": np.array(codes),
    }


def _views(file: Path) -> dict[str, np.ndarray]:
    kinds = {  # shape behind the rows, and kind of dtype
        "image_noto": ((32, 32, 3), "u"),
        "image_emojitwo": ((32, 32, 3), "u"),
        "has_emojitwo": ((), "b"),
        "speech_logmel": ((96, 40), "u"),
        "speech_frames": ((), "i"),
    }
    try:
        # Opened here, since numpy leaves a damaged file open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in kinds if name in archive}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RawDataError(f"{file} is damaged or not an .npz file ({error})") from error
    for name, (shape, kind) in kinds.items():
        if name not in arrays:
            raise RawDataError(f"{file} has no array {name!r}; it has {', '.join(arrays)}")
        array, rows = arrays[name], len(arrays["image_noto"])
        if array.shape != (rows, *shape) or array.dtype.kind != kind:
            raise RawDataError(
                f"{file}: {name} is {array.dtype}{list(array.shape)}, expected "
                f"{[rows, *shape]} of kind {kind!r}"
            )
    frames, most = arrays["speech_frames"], arrays["speech_logmel"].shape[1]
    wrong = np.flatnonzero((frames < 1) | (frames > most))
    if len(wrong):
        raise RawDataError(
            f"{file}: speech_frames of row {wrong[0]} is {frames[wrong[0]]}, expected 1 to {most}"
        )
    return arrays


def _texts(file: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Codes, and by language one string of name and keywords for each row."""
    codes: list[str] = []
    texts: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise RawDataError(f"{file} is not UTF-8 text ({error})") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            codes.append(str(row["code"]))
            for language, short in LANGUAGES.items():
                name, keywords = row["text"][short]
                texts[language].append(", ".join([name, *keywords]))
        except (ValueError, KeyError, TypeError) as error:
            raise RawDataError(
                f"{file}, line {number}: expected an object with 'code' and 'text', the latter "
                f"with [name, [keywords]] for each of {', '.join(LANGUAGES.values())} "
                f"({type(error).__name__}: {error})"
            ) from error
    return codes, texts


def _pixels(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n pixels"]:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _ngrams(texts: list[str], width: int) -> Float[np.ndarray, "n width"]:
    from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

    # Hashed, not learned: no row's features depend on any other row, so the split is kept.
    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=_NGRAMS, n_features=width)
    return vectorizer.transform(texts).astype(np.float32).toarray()  # pyright: ignore


def _bands(
    quantised: UInt8[np.ndarray, "n frames bands"], frames: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n 2*bands"]:
    """Mean, then standard deviation, of each band over the frames that hold speech."""
    log_mel = quantised.astype(np.float64) * 20 / 255 - 14  # how the bytes were made, undone
    spoken = np.arange(quantised.shape[1]) < frames[:, None]
    weights = (spoken / frames[:, None])[..., None]
    mean = (weights * log_mel).sum(axis=1)
    variance = (weights * (log_mel - mean[:, None]) ** 2).sum(axis=1)
    return np.concatenate([mean, np.sqrt(variance)], axis=1).astype(np.float32)

"""What an encoder sees of a cell: one array row per piece, as Hugging Face's processors make it."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gramalign.counted import counted
from gramalign.decoding.pictures import spread
from gramalign.decoding.sounds import sound, windows

Kind = Literal["text", "image", "video", "audio"]
Pieces = dict[str, np.ndarray]
"""Arrays `[pieces, ...]` by the names that the encoder has for them."""

# Trained on texts of one length, padding included.
_PADDED = ("clip", "siglip")
_SHORTEST = 16  # tokens
# Encoders of samples hear any number of them at once: seconds of a window, and how often it is
# halved for short sounds. All were trained on more than 10 seconds, which take more memory.
_SECONDS, _HALVINGS = 10, 7


def exists(kind: Kind, path: str) -> bool:
    """Whether there is a file; a video may be a folder of images, too."""
    return os.path.isfile(path) or kind == "video" and os.path.isdir(path)


def finite(pieces: Pieces) -> Pieces:
    """The same, unless a ValueError says that what an encoder would see is NaN or Inf."""
    for name, array in pieces.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} would be NaN or Inf, as by an image_std of 0 or huge samples")
    return pieces


def text_pieces(
    tokenizer: Any, longest: int, *, model_type: str, filled: bool, places: int = 0
) -> Callable[[str], Pieces]:
    """A function from a text to its pieces.

    Args:
        tokenizer: Hugging Face's, which is set up for this.
        longest: most tokens of a text.
        model_type: the encoder's family.
        filled: make all texts as long as the longest may be.
        places: most tokens that the encoder takes. SigLIP, which reads the last, was trained on
            texts that are all as long.

    Raises:
        ValueError: no text could be told from another.
    """
    if model_type.startswith("siglip"):
        _lower(tokenizer)
    longest = min(longest, tokenizer.model_max_length)
    padded = longest if filled or model_type.startswith(_PADDED) else None
    if model_type.startswith("siglip"):
        padded = max(longest, places)
    tokenizer.padding_side = "right"  # encoders that pool the first token find it there
    if tokenizer.pad_token is None:
        raise ValueError("it has no padding token: set pad_token")
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # Hugging Face makes one of nothing, which calls all words unknown, or leaves them out.
        raise ValueError(
            "it has no vocabulary: tokenizer.json, vocab.txt, vocab.json and merges.txt, or a "
            ".model is missing"
        )
    if longest <= (special := tokenizer.num_special_tokens_to_add()):
        raise ValueError(
            f"{counted(longest, 'token')} of a text would be kept, of which {special} would be "
            f"special: expected at least {special + 1} of --tokens, max_seq_length, and "
            "model_max_length in tokenizer_config.json"
        )
    # A hint to tokenise many texts at once, which threads do here.
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True

    def read(text: str) -> Pieces:
        tokens = tokenizer(text, truncation=True, max_length=longest)
        # A few lengths, so that few programs are compiled.
        length = padded or _length(len(tokens["input_ids"]), longest)
        filled = tokenizer.pad(tokens, padding="max_length", max_length=length)
        return {
            name: np.asarray(filled[name], np.int32)[None]
            for name in ("input_ids", "attention_mask")
            if name in filled
        }

    read("")  # sets the tokenizer up for truncation, which threads could not at the same time
    return read


def _lower(tokenizer: Any) -> None:
    """Sees to it that texts become lower case, as those did that SigLIP was trained on.

    SigLIP's own tokenizers do that; SigLIP 2 has that of Gemma, which does not.
    """
    if type(tokenizer).__name__.startswith("Siglip"):
        return
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    steps = [normalizers.Lowercase(), backend.normalizer]
    backend.normalizer = normalizers.Sequence([step for step in steps if step is not None])


def _length(tokens: int, longest: int) -> int:
    """The power of two that has room for a text.

    >>> _length(3, 512), _length(17, 512), _length(500, 77)
    (16, 32, 77)
    """
    return min(longest, 1 << (max(tokens, _SHORTEST) - 1).bit_length())


def image_pieces(processor: Any) -> Callable[[Sequence[Any]], Pieces]:
    """A function from PIL's images to a piece of each, as Hugging Face's processor makes it.

    Raises:
        ValueError: the processor makes NaN or Inf.
    """
    from PIL import Image

    def made(found: Sequence[Any]) -> Pieces:
        return {"pixel_values": processor(list(found), return_tensors="np")["pixel_values"]}

    finite(made([Image.new("RGB", (640, 480))]))
    return made


def video_pieces(processor: Any, count: int) -> Callable[[Sequence[Any]], Pieces]:
    """A function from frames to the one piece that as many as are asked for are together.

    Raises:
        ValueError: as `image_pieces`.
    """
    each = image_pieces(processor)

    def made(found: Sequence[Any]) -> Pieces:
        # Processors of videos' frames make one array of them, those of images one each.
        frames = np.concatenate([each([frame])["pixel_values"] for frame in found])
        frames = frames.reshape(len(found), *frames.shape[-3:])
        return {"pixel_values": frames[None, spread(len(found), count)]}

    return made


def sound_pieces(extractor: Any, *, filled: bool) -> Callable[[str], Pieces]:
    """A function from the path of a sound to its pieces.

    Args:
        extractor: Hugging Face's feature extractor.
        filled: of windows, prepare the middle one only, as long as the longest may be.

    Raises:
        ValueError: the extractor makes NaN or Inf.
    """
    rate, (name, *_) = extractor.sampling_rate, extractor.model_input_names
    of_samples = False
    if hasattr(extractor, "n_samples"):
        longest = extractor.n_samples
    elif hasattr(extractor, "max_length"):  # as many frames of 25 ms, one every 10 ms, as it keeps
        longest = int(0.025 * rate) + (extractor.max_length - 1) * int(0.010 * rate)
    else:
        longest, of_samples = _SECONDS * rate, True

    def prepared(found: Float[np.ndarray, " samples"]) -> Pieces:
        size = longest
        if of_samples and not filled:
            # Those that were trained without a mask heard no silence after a sound.
            size = window_size(len(found), longest, padded=extractor.return_attention_mask)
        cut = windows(found, size)
        made = extractor(
            [cut[number] for number in spread(len(cut), 1)] if filled else cut,
            sampling_rate=rate,
            return_tensors="np",
            # Filter banks take no notice of these: silence is added, and there is no mask.
            padding="max_length",
            max_length=size,
            return_attention_mask=True,
        )
        return {key: made[key] for key in (name, "attention_mask") if key in made}

    finite(prepared(np.zeros(rate, np.float32)))
    return lambda path: prepared(sound(path, rate))


def window_size(samples: int, longest: int, *, padded: bool) -> int:
    """The longest window or a half, a quarter, ... of it, so that few programs are compiled.

    Args:
        samples: length of the sound.
        longest: of all windows.
        padded: whether the window has room for the sound, or the sound fills the window, so that
            two may be needed.

    >>> [window_size(samples, 160_000, padded=True) for samples in (200_000, 80_001, 80_000, 9)]
    [160000, 160000, 80000, 1250]
    >>> [window_size(samples, 160_000, padded=False) for samples in (200_000, 80_001, 79_999, 9)]
    [160000, 80000, 40000, 1250]
    """
    halvings = math.log2(longest / samples)
    halvings = math.floor(halvings) if padded else math.ceil(halvings)
    return longest >> min(max(halvings, 0), _HALVINGS)

"""The families of checkpoints that can be loaded, by `model_type`."""

from collections.abc import Mapping

from gramalign.models.pretrained.families.beats import BEATS
from gramalign.models.pretrained.families.bert import BERT, DISTILBERT, MPNET, ROBERTA
from gramalign.models.pretrained.families.clap import CLAP
from gramalign.models.pretrained.families.clip import ALONE, CLIP, SIGLIP
from gramalign.models.pretrained.families.dinov3 import DINOV3
from gramalign.models.pretrained.families.eva import EVA
from gramalign.models.pretrained.families.imagebind import IMAGEBIND
from gramalign.models.pretrained.families.recipe import Recipe
from gramalign.models.pretrained.families.vit import AST, DINOV2, REGISTERS, VIDEOMAE, VIT
from gramalign.models.pretrained.families.wav2vec2 import HUBERT, WAV2VEC2, WAVLM
from gramalign.models.pretrained.families.whisper import WHISPER

__all__ = ["FAMILIES", "Recipe", "families_of"]

FAMILIES: Mapping[str, Mapping[str, Recipe]] = {
    "audio-spectrogram-transformer": AST,
    "beats": BEATS,
    "bert": BERT,
    "clap": CLAP,
    "clip": CLIP,
    "dinov2": DINOV2,
    "dinov2_with_registers": REGISTERS,
    "dinov3_vit": DINOV3,
    "distilbert": DISTILBERT,
    "eva01_clip_vision": EVA,
    "hubert": HUBERT,
    "imagebind": IMAGEBIND,
    "mpnet": MPNET,
    "roberta": ROBERTA,
    "siglip": SIGLIP,
    "videomae": VIDEOMAE,
    "vit": VIT,
    "wav2vec2": WAV2VEC2,
    "wavlm": WAVLM,
    "whisper": WHISPER,
    "xlm-roberta": ROBERTA,
    **ALONE,
}
"""Of each, the recipes of its kinds of encoders: "text", "image", "video", "audio"."""


def families_of(kind: str) -> list[str]:
    """The families with an encoder of a kind.

    >>> families_of("video")
    ['videomae']
    """
    return sorted(name for name, recipes in FAMILIES.items() if kind in recipes)

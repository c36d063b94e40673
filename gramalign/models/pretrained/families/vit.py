"""ViT (arXiv 2010.11929), DINOv2 (arXiv 2304.07193), also with registers (arXiv 2309.16588), AST.

AST (arXiv 2104.01778) is a ViT of spectrograms, VideoMAE (arXiv 2203.12602) one of videos.
"""

import dataclasses
import re
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    BASE,
    IMAGE,
    Config,
    Recipe,
    Weights,
    layers,
    pair,
    patches_of,
    shape_of,
)
from gramalign.models.pretrained.fronts import Spectrum, Tubelets
from gramalign.models.pretrained.transformer import Shape, Transformer
from gramalign.settings import settled

_vit = {**BASE, **IMAGE, "qkv_bias": True}
_dinov2 = {
    **{**_vit, "layer_norm_eps": 1e-6, "patch_size": 14},
    **{"mlp_ratio": 4.0, "use_swiglu_ffn": False},
}
_registers = {**_dinov2, "patch_size": 16, "num_register_tokens": 4}
_ast = {
    **{**_vit, "frequency_stride": 10, "time_stride": 10},
    **{"max_length": 1024, "num_mel_bins": 128},
}
_videomae = {
    **{**BASE, **IMAGE, "num_frames": 16, "tubelet_size": 2},
    **{"qv_bias": True, "use_mean_pooling": True},
}


def _shape(config: Config, dtype: DTypeLike, **others: Any) -> Shape:
    biases = (bool(config["qkv_bias"]),) * 3
    return shape_of(config, dtype, biases=biases, **others)


def _make_vit(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_vit, config)
    shape = _shape(config, dtype)
    front, body = patches_of(shape, config), Transformer(shape)
    return Encoder("image", shape.width, front, body, pools.first)


def _make_dinov2(config: Config, dtype: DTypeLike) -> Encoder:
    return _dinov2_like(settled(_dinov2, config), dtype)


def _make_registers(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_registers, config)
    front = {"registers": config["num_register_tokens"], "smooth": True}
    return _dinov2_like(config, dtype, **front)


def _dinov2_like(config: Config, dtype: DTypeLike, **others: Any) -> Encoder:
    hidden = int(config["hidden_size"] * config["mlp_ratio"])
    if gated := config["use_swiglu_ffn"]:
        # Two halves have the parameters of one, rounded up to what suits accelerators.
        hidden = (hidden * 2 // 3 + 7) // 8 * 8
        config = {**config, "hidden_act": "silu"}
    shape = _shape({**config, "intermediate_size": hidden}, dtype, gated=gated, scaled=True)
    front, body = patches_of(shape, config, **others), Transformer(shape)
    return Encoder("image", shape.width, front, body, pools.first)


def _make_ast(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_ast, config)
    shape = _shape(config, dtype)
    front = Spectrum(
        shape,
        (config["num_mel_bins"], config["max_length"]),
        pair(config["patch_size"]),
        stride=(config["frequency_stride"], config["time_stride"]),
        tokens=2,
    )
    return Encoder("audio", shape.width, front, Transformer(shape), pools.mean_of_two)


def _make_videomae(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_videomae, config)
    biased = bool(config["qv_bias"])
    # Where tokens are meant to be averaged, what normalises them is no part of the encoder.
    norm_last = not config["use_mean_pooling"]
    shape = shape_of(config, dtype, biases=(biased, False, biased), norm_last=norm_last)
    video = (config["num_frames"], config["num_channels"], *pair(config["image_size"]))
    patch = (config["tubelet_size"], *pair(config["patch_size"]))
    front = Tubelets(shape, video, patch)
    return Encoder("video", shape.width, front, Transformer(shape), pools.mean)


_FRONT = {
    "front.map": "embeddings.patch_embeddings.projection",
    "front.places": "embeddings.position_embeddings",
    "front.tokens": "embeddings.cls_token",
}
_ATTENTION = {
    "attention.query": "attention.attention.query",
    "attention.key": "attention.attention.key",
    "attention.value": "attention.attention.value",
    "attention.out": "attention.output.dense",
}
_VIT_NAMES = {
    **_FRONT,
    **layers(
        "encoder.layer",
        **_ATTENTION,
        **{
            "attention_norm": "layernorm_before",
            "mlp.up": "intermediate.dense",
            "mlp.down": "output.dense",
            "mlp_norm": "layernorm_after",
        },
    ),
    "body.norm": "layernorm",
}
_DINOV2_NAMES = {
    **_FRONT,
    **layers(
        "encoder.layer",
        **_ATTENTION,
        **{
            "attention_norm": "norm1",
            "attention_scale": "layer_scale1.lambda1",
            "mlp.up": "mlp.fc1",
            "mlp.down": "mlp.fc2",
            "mlp_norm": "norm2",
            "mlp_scale": "layer_scale2.lambda1",
        },
    ),
    "body.norm": "layernorm",
}


def _same_for_gated(weights: Weights) -> Weights:
    ours = {"weights_in": "fc1", "weights_out": "fc2"}
    return {re.sub(r"weights_(in|out)", lambda x: ours[x[0]], n): w for n, w in weights.items()}


def _same_for_biases(weights: Weights) -> Weights:
    ours = {"q_bias": "query.bias", "v_bias": "value.bias"}
    return {re.sub(r"\b[qv]_bias$", lambda x: ours[x[0]], n): w for n, w in weights.items()}


def _join_tokens(weights: Weights) -> Weights:
    tokens = [weights.pop(f"embeddings.{name}_token", None) for name in ("cls", "distillation")]
    there = [token for token in tokens if token is not None]
    return weights if not there else {**weights, "embeddings.cls_token": np.concatenate(there, 1)}


_OWN = ("embeddings.", "encoder.", "layernorm.")
VIT = {"image": Recipe(_make_vit, _VIT_NAMES, _OWN, prefixes=("vit.", ""), unused=("mask_token",))}
_dinov2_recipe = Recipe(
    _make_dinov2,
    _DINOV2_NAMES,
    _OWN,
    prefixes=("dinov2.", ""),
    unused=("mask_token",),
    adapted=_same_for_gated,
)
DINOV2 = {"image": _dinov2_recipe}
REGISTERS = {
    "image": dataclasses.replace(
        _dinov2_recipe,
        make=_make_registers,
        names={**_DINOV2_NAMES, "front.registers": "embeddings.register_tokens"},
        prefixes=("dinov2_with_registers.", ""),
    )
}
VIDEOMAE = {
    "video": Recipe(
        _make_videomae,
        _VIT_NAMES,
        _OWN,
        prefixes=("videomae.", ""),
        adapted=_same_for_biases,
    )
}
AST = {
    "audio": Recipe(
        _make_ast,
        _VIT_NAMES,
        _OWN,
        prefixes=("audio_spectrogram_transformer.", ""),
        adapted=_join_tokens,
    )
}

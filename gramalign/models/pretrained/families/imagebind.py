"""ImageBind (arXiv 2305.05665): its texts, images and sounds, by the names of its authors' code.

Their checkpoint has no configuration: `{"model_type": "imagebind"}` is that of the one they
published. Its depth maps, heat and motion are not read here.
"""

from typing import Any

import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    Config,
    Make,
    Names,
    Recipe,
    Weights,
    layers,
    pair,
    projections,
    unpacked,
)
from gramalign.models.pretrained.fronts import Patches, Spectrum, Tokens
from gramalign.models.pretrained.transformer import Shape, Transformer
from gramalign.settings import settled

_imagebind = {
    "out_embed_dim": 1024,
    **{"text_embed_dim": 1024, "text_num_blocks": 24, "text_num_heads": 16},
    **{"vocab_size": 49408, "context_length": 77},
    **{"vision_embed_dim": 1280, "vision_num_blocks": 32, "vision_num_heads": 16},
    **{"image_size": 224, "patch_size": 14},
    **{"audio_embed_dim": 768, "audio_num_blocks": 12, "audio_num_heads": 12},
    **{"audio_kernel_size": 16, "audio_stride": 10},
    **{"audio_num_mel_bins": 128, "audio_target_len": 204},
}


def _shape(config: Config, part: str, dtype: DTypeLike, **others: Any) -> Shape:
    width, depth, heads = (config[f"{part}_{n}"] for n in ("embed_dim", "num_blocks", "num_heads"))
    return Shape(width, depth, heads, 4 * width, "gelu", 1e-6, dtype, **others)


def _make_text(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_imagebind, config)
    shape = _shape(config, "text", dtype, causal=True)
    front = Tokens(shape, config["vocab_size"], config["context_length"])
    # A text ends at its largest number.
    return _encoder("text", config, shape, front, pools.EndOfText(None))


def _make_image(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_imagebind, config)
    shape = _shape(config, "vision", dtype)
    sizes = [pair(config[name]) for name in ("image_size", "patch_size")]
    front = Patches(shape, 3, *sizes, bias=False, norm=True)
    return _encoder("image", config, shape, front)


def _make_audio(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_imagebind, config)
    shape = _shape(config, "audio", dtype, sink=True)
    front = Spectrum(
        shape,
        (config["audio_num_mel_bins"], config["audio_target_len"]),
        (config["audio_kernel_size"],) * 2,
        stride=(config["audio_stride"],) * 2,
        bias=False,
        patch_norm=1e-5,
    )
    return _encoder("audio", config, shape, front)


def _encoder(
    kind: str,
    config: Config,
    shape: Shape,
    front: nnx.Module,
    pool: Any = pools.first,
) -> Encoder:
    dim = config["out_embed_dim"]
    head = shape.linear(shape.width, dim, bias=False)
    return Encoder(kind, dim, front, Transformer(shape), pool, head)


def _names(part: str, **others: str) -> Names:
    before = "modality_preprocessors"
    return {
        **{ours: f"{before}.{part}.{theirs}" for ours, theirs in others.items()},
        **layers(
            f"modality_trunks.{part}.blocks",
            **{
                **projections("attn"),
                "attention.sink_key": "attn.bias_k",
                "attention.sink_value": "attn.bias_v",
                "attention_norm": "norm_1",
                "mlp.up": "mlp.fc1",
                "mlp.down": "mlp.fc2",
                "mlp_norm": "norm_2",
            },
        ),
        "front.norm": f"modality_trunks.{part}.pre_transformer_layer.0",
        "body.norm": f"modality_heads.{part}.{'proj.0' if part == 'text' else '0'}",
        "head": f"modality_heads.{part}.{'proj.1' if part == 'text' else '2'}",
    }


def _adapted(weights: Weights) -> Weights:
    """An image, where a film of two alike was seen."""
    films = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
    if films in weights:
        weights[films] = weights[films].astype(np.float32).sum(axis=2)
    return unpacked(weights)


def _recipe(make: Make, part: str, **others: str) -> Recipe:
    own = tuple(f"modality_{each}.{part}." for each in ("preprocessors", "trunks", "heads"))
    names = _names(part, **others)
    return Recipe(make, names, own, unused=(".mask",), adapted=_adapted)


_PLACES = {"front.tokens": "cls_token", "front.places": "pos_embedding_helper.pos_embed"}
IMAGEBIND = {
    "text": _recipe(
        _make_text,
        "text",
        **{"front.words": "token_embedding", "front.places.embedding": "pos_embed"},
    ),
    "image": _recipe(_make_image, "vision", **_PLACES, **{"front.map": "rgbt_stem.proj.1"}),
    "audio": _recipe(
        _make_audio,
        "audio",
        **_PLACES,
        **{"front.map": "rgbt_stem.proj", "front.patch_norm": "rgbt_stem.norm_layer"},
    ),
}

"""CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343): texts and images in one space.

SigLIP 2 (arXiv 2502.14786) is a SigLIP where its images have one resolution.
"""

import dataclasses
from collections.abc import Callable, Mapping

from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import AttentionPool, Encoder
from gramalign.models.pretrained.families.recipe import (
    BASE,
    IMAGE,
    Config,
    Names,
    Recipe,
    layers,
    patches_of,
    projection_of,
    projections,
    shape_of,
    unpacked,
    width_of,
)
from gramalign.models.pretrained.fronts import Tokens
from gramalign.models.pretrained.transformer import Transformer
from gramalign.settings import part_of, settled


def _part(name: str, defaults: Config) -> Callable[[Config], Config]:
    def found(config: Config) -> Config:
        # The oldest configurations have it twice, and Hugging Face takes the second.
        given = part_of(config, f"{name}_dict") or part_of(config, name)
        return settled(defaults, given, name)

    return found


_CLIP_BASE = {**BASE, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_clip_text = _part(
    "text_config",
    {
        **_CLIP_BASE,
        **{"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8},
        **{"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
    },
)
_clip_image = _part("vision_config", {**_CLIP_BASE, **IMAGE, "patch_size": 32})
_SIGLIP_BASE = {**BASE, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_siglip_text = _part(
    "text_config",
    {**_SIGLIP_BASE, "vocab_size": 32000, "max_position_embeddings": 64, "projection_size": None},
)
_siglip_image = _part("vision_config", {**_SIGLIP_BASE, **IMAGE, "vision_use_head": True})


def _clip_layers(before: str) -> Names:
    attention = projections("self_attn")
    norms = {"attention_norm": "layer_norm1", "mlp_norm": "layer_norm2"}
    perceptron = {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    return layers(f"{before}.encoder.layers", **attention, **norms, **perceptron)


def _make_clip_text(config: Config, dtype: DTypeLike) -> Encoder:
    text = _clip_text(config)
    shape = shape_of(text, dtype, causal=True)
    front = Tokens(shape, text["vocab_size"], text["max_position_embeddings"])
    # Older configurations give 2, which is no word's end; a text ends at its largest number there.
    pool = pools.EndOfText(None if (end := text["eos_token_id"]) == 2 else end)
    head = projection_of({"projection_dim": 512, **config}, shape)
    return Encoder("text", width_of(shape, head), front, Transformer(shape), pool, head)


def _make_clip_image(config: Config, dtype: DTypeLike) -> Encoder:
    image = _clip_image(config)
    shape = shape_of(image, dtype)
    front = patches_of(shape, image, bias=False, norm=True)
    # Only the token for the class is normalised at the end, which the others do not change.
    body = Transformer(shape)
    head = projection_of({"projection_dim": 512, **config}, shape)
    return Encoder("image", width_of(shape, head), front, body, pools.first, head)


def _make_siglip_text(config: Config, dtype: DTypeLike) -> Encoder:
    text = _siglip_text(config)
    shape = shape_of(text, dtype)
    dim = text["projection_size"] or shape.width
    front = Tokens(shape, text["vocab_size"], text["max_position_embeddings"])
    body, head = Transformer(shape), shape.linear(shape.width, dim)
    return Encoder("text", dim, front, body, pools.last, head)


def _make_siglip_image(config: Config, dtype: DTypeLike) -> Encoder:
    shape = shape_of(image := _siglip_image(config), dtype)
    if not image["vision_use_head"]:
        raise ValueError("vision_use_head is false, expected true: it has no embeddings of images")
    front, body = patches_of(shape, image, tokens=0), Transformer(shape)
    return Encoder("image", shape.width, front, body, AttentionPool(shape))


_CLIP_TEXT_NAMES = {
    "front.words": "text_model.embeddings.token_embedding",
    "front.places": "text_model.embeddings.position_embedding",
    **_clip_layers("text_model"),
    "body.norm": "text_model.final_layer_norm",
}
_CLIP_IMAGE_NAMES = {
    "front.map": "vision_model.embeddings.patch_embedding",
    "front.places": "vision_model.embeddings.position_embedding.weight",
    **_clip_layers("vision_model"),
    "body.norm": "vision_model.post_layernorm",
}
CLIP = {
    "text": Recipe(
        _make_clip_text,
        {**_CLIP_TEXT_NAMES, "head": "text_projection"},
        ("text_model.", "text_projection."),
        unused=("position_ids",),
    ),
    "image": Recipe(
        _make_clip_image,
        {
            **_CLIP_IMAGE_NAMES,
            "front.tokens": "vision_model.embeddings.class_embedding",
            "front.norm": "vision_model.pre_layrnorm",
            "head": "visual_projection",
        },
        ("vision_model.", "visual_projection."),
        unused=("position_ids",),
    ),
}


SIGLIP = {
    "text": Recipe(
        _make_siglip_text,
        {**_CLIP_TEXT_NAMES, "head": "text_model.head"},
        ("text_model.",),
        unused=("position_ids",),
    ),
    "image": Recipe(
        _make_siglip_image,
        {
            **_CLIP_IMAGE_NAMES,
            "pool.probe": "vision_model.head.probe",
            **projections("vision_model.head.attention", under="pool.attention."),
            "pool.mlp.up": "vision_model.head.mlp.fc1",
            "pool.mlp.down": "vision_model.head.mlp.fc2",
            "pool.norm": "vision_model.head.layernorm",
        },
        ("vision_model.",),
        unused=("position_ids",),
        adapted=unpacked,
    ),
}


def _alone(recipe: Recipe, part: str) -> Recipe:
    """The recipe of a file with one of the two encoders, such as that of a diffusion model."""

    def make(config: Config, dtype: DTypeLike) -> Encoder:
        projected = "WithProjection" in str(config.get("architectures"))
        dim = config.get("projection_dim", 512) if projected else None
        return recipe.make({f"{part}_config": config, "projection_dim": dim}, dtype)

    return dataclasses.replace(recipe, make=make, part=f"{part}_model.")


ALONE: Mapping[str, Mapping[str, Recipe]] = {
    "clip_text_model": {"text": _alone(CLIP["text"], "text")},
    "clip_vision_model": {"image": _alone(CLIP["image"], "vision")},
    "siglip_text_model": {"text": _alone(SIGLIP["text"], "text")},
    "siglip_vision_model": {"image": _alone(SIGLIP["image"], "vision")},
}
"""By `model_type`."""

"""DINOv3 (arXiv 2508.10104), whose attention turns what it compares by where patches are.

Its training moved, stretched and shrank all places at random; here they are where they are, as in
Hugging Face's evaluation, also when an encoder is trained further.
"""

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
    patches_of,
    projections,
    shape_of,
)
from gramalign.models.pretrained.transformer import Transformer
from gramalign.models.pretrained.turns import Turns
from gramalign.settings import settled

_dinov3 = {
    **{**BASE, **IMAGE, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6},
    **{"layer_norm_eps": 1e-5, "rope_theta": 100.0, "num_register_tokens": 0},
    **{"query_bias": True, "key_bias": False, "value_bias": True},
    **{"proj_bias": True, "mlp_bias": True, "use_gated_mlp": False},
}


def _make(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_dinov3, config)
    shape = shape_of(
        config,
        dtype,
        biases=tuple(bool(config[f"{name}_bias"]) for name in ("query", "key", "value")),
        out_bias=config["proj_bias"],
        mlp_bias=config["mlp_bias"],
        gated=config["use_gated_mlp"],
        scaled=True,
    )
    registers = config["num_register_tokens"]
    front = patches_of(shape, config, registers=registers, placed=False)
    width = shape.width // shape.heads
    turns = Turns(width, front.patch, config["rope_theta"], before=1, after=registers)
    body = Transformer(shape)
    return Encoder("image", shape.width, front, body, pools.first, turns=turns)


_NAMES = {
    "front.map": "embeddings.patch_embeddings",
    "front.tokens": "embeddings.cls_token",
    "front.registers": "embeddings.register_tokens",
    **layers(
        "layer",
        **{
            **projections("attention", out="o_proj"),
            "attention_norm": "norm1",
            "attention_scale": "layer_scale1.lambda1",
            "mlp.up": "mlp.up_proj",
            "mlp.down": "mlp.down_proj",
            "mlp_norm": "norm2",
            "mlp_scale": "layer_scale2.lambda1",
        },
    ),
    "body.norm": "norm",
}


def _adapted(weights: Weights) -> Weights:
    """Joins gates with what they multiply; newer names too."""
    found = {name.removeprefix("model."): array for name, array in weights.items()}
    for name in [name for name in found if ".gate_proj." in name]:
        up = name.replace("gate_proj", "up_proj")
        if up in found:
            found[up] = np.concatenate([found.pop(name), found[up]])
    return found


DINOV3 = {
    "image": Recipe(
        _make,
        _NAMES,
        ("embeddings.", "layer.", "model.layer.", "norm."),
        unused=("mask_token",),
        adapted=_adapted,
    )
}

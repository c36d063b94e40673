"""EVA's encoder of images (arXiv 2211.07636), as EVA-CLIP trained it (arXiv 2303.15389).

The first EVA alone; the names of its parts are those of its authors and of timm.
"""

import re

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
    projection_of,
    shape_of,
    width_of,
)
from gramalign.models.pretrained.transformer import Transformer
from gramalign.settings import settled

_eva = {
    **{**BASE, **IMAGE, "layer_norm_eps": 1e-6, "patch_size": 14},
    **{"hidden_size": 1408, "intermediate_size": 6144},
    **{"num_hidden_layers": 40, "num_attention_heads": 16},
}


def _make(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_eva, config)
    shape = shape_of(config, dtype, biases=(True, False, True))
    front, body = patches_of(shape, config), Transformer(shape)
    head = projection_of(config, shape)
    return Encoder("image", width_of(shape, head), front, body, pools.first, head)


_NAMES = {
    "front.map": "patch_embed.proj",
    "front.places": "pos_embed",
    "front.tokens": "cls_token",
    **layers(
        "blocks",
        **{
            "attention.query": "attn.q",
            "attention.key": "attn.k",
            "attention.value": "attn.v",
            "attention.out": "attn.proj",
            "attention_norm": "norm1",
            "mlp.up": "mlp.fc1",
            "mlp.down": "mlp.fc2",
            "mlp_norm": "norm2",
        },
    ),
    "body.norm": "norm",
    "head": "head",
}


def _divide(weights: Weights) -> Weights:
    """Queries, keys and values, whose kernels are one there, and whose biases have no layer."""
    found = {}
    for name, array in weights.items():
        if name.endswith("attn.qkv.weight"):
            parts = zip("qkv", np.split(array, 3), strict=True)
            found |= {name.replace("qkv", part): kernel for part, kernel in parts}
        else:
            found[re.sub(r"\b([qv])_bias$", r"\1.bias", name)] = array
    return found


EVA = {
    "image": Recipe(
        _make,
        _NAMES,
        ("patch_embed.", "pos_embed", "cls_token", "blocks.", "norm.", "head."),
        adapted=_divide,
    )
}

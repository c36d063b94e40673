"""BEATs (arXiv 2212.09058), of sounds, by the names of its authors' code.

`gramalign.models.pretrained.divide` makes a folder of their checkpoints.
"""

from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    Config,
    Recipe,
    Weights,
    known,
    layers,
    projection_of,
    projections,
    shape_of,
    width_of,
)
from gramalign.models.pretrained.families.wav2vec2 import with_length
from gramalign.models.pretrained.filterbank import FilterBank
from gramalign.models.pretrained.transformer import Distances, Transformer
from gramalign.settings import settled

_beats = {
    **{"encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072},
    **{"encoder_attention_heads": 12, "activation_fn": "gelu"},
    **{"layer_norm_first": False, "deep_norm": False},
    **{"embed_dim": 512, "input_patch_size": 16, "conv_bias": False},
    **{"conv_pos": 128, "conv_pos_groups": 16},
    **{"relative_position_embedding": False, "num_buckets": 320, "max_distance": 1280},
    **{"gru_rel_pos": False, "num_mel_bins": 128, "max_length": 1024},
}


def _make(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_beats, config)
    sizes = {
        "hidden_size": config["encoder_embed_dim"],
        "intermediate_size": config["encoder_ffn_embed_dim"],
        "num_hidden_layers": config["encoder_layers"],
        "num_attention_heads": config["encoder_attention_heads"],
        "hidden_act": known(config, "activation_fn"),
        "layer_norm_eps": 1e-5,
    }
    distances = None
    if config["relative_position_embedding"]:
        gate = "queries" if config["gru_rel_pos"] else None
        distances = Distances(config["num_buckets"], config["max_distance"], gate)
    shape = shape_of(
        sizes,
        dtype,
        norm_first=config["layer_norm_first"],
        distances=distances,
        residual=(2 * config["encoder_layers"]) ** 0.25 if config["deep_norm"] else 1.0,
    )
    front = FilterBank(
        shape,
        (config["num_mel_bins"], config["max_length"]),
        config["input_patch_size"],
        width=config["embed_dim"],
        bias=config["conv_bias"],
        near=config["conv_pos"],
        groups=config["conv_pos_groups"],
    )
    body, head = Transformer(shape), projection_of(config, shape)
    return Encoder("audio", width_of(shape, head), front, body, pools.mean, head)


_NAMES = {
    "front.map": "patch_embedding",
    "front.map_norm": "layer_norm",
    "front.projection": "post_extract_proj",
    "front.places": "encoder.pos_conv.0",
    **layers(
        "encoder.layers",
        **{
            **projections("self_attn"),
            "attention.gate.map": "self_attn.grep_linear",
            "attention.gate.weight": "self_attn.grep_a",
            "attention_norm": "self_attn_layer_norm",
            "mlp.up": "fc1",
            "mlp.down": "fc2",
            "mlp_norm": "final_layer_norm",
        },
    ),
    # Before the layers, or after them where each normalises what it sees.
    "front.norm": "encoder.layer_norm",
    "body.norm": "encoder.layer_norm",
    "body.distances": "encoder.layers.0.self_attn.relative_attention_bias",
    "head": "projection",
}


def _adapted(weights: Weights) -> Weights:
    of_all = "self_attn.relative_attention_bias.weight"  # which each layer has there
    kept = {
        name: array
        for name, array in weights.items()
        if not name.endswith(of_all) or name.startswith("encoder.layers.0.")
    }
    return with_length(kept, "encoder.pos_conv.0")


BEATS = {
    "audio": Recipe(
        _make,
        _NAMES,
        ("patch_embedding.", "layer_norm.", "post_extract_proj.", "encoder.", "projection."),
        adapted=_adapted,
    )
}

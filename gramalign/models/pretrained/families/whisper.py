"""The encoder of Whisper (arXiv 2212.04356), of speech."""

from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    Config,
    Recipe,
    known,
    layers,
    projections,
    shape_of,
)
from gramalign.models.pretrained.fronts import Frames
from gramalign.models.pretrained.transformer import Transformer
from gramalign.settings import settled

_whisper = {
    **{"d_model": 384, "encoder_ffn_dim": 1536, "encoder_layers": 4},
    **{"encoder_attention_heads": 6, "activation_function": "gelu"},
    **{"num_mel_bins": 80, "max_source_positions": 1500},
}


def _make(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_whisper, config)
    sizes = {
        "hidden_size": config["d_model"],
        "intermediate_size": config["encoder_ffn_dim"],
        "num_hidden_layers": config["encoder_layers"],
        "num_attention_heads": config["encoder_attention_heads"],
        "hidden_act": known(config, "activation_function"),
        "layer_norm_eps": 1e-5,
    }
    shape = shape_of(sizes, dtype, biases=(True, False, True))
    front = Frames(shape, config["num_mel_bins"], config["max_source_positions"])
    return Encoder("audio", shape.width, front, Transformer(shape), pools.mean_of_sound)


_NAMES = {
    "front.first": "conv1",
    "front.second": "conv2",
    "front.places": "embed_positions.weight",
    **layers(
        "layers",
        **{
            **projections("self_attn"),
            "attention_norm": "self_attn_layer_norm",
            "mlp.up": "fc1",
            "mlp.down": "fc2",
            "mlp_norm": "final_layer_norm",
        },
    ),
    "body.norm": "layer_norm",
}
WHISPER = {
    "audio": Recipe(
        _make,
        _NAMES,
        ("conv", "embed_positions.", "layers.", "layer_norm."),
        prefixes=("model.encoder.", "encoder."),
    )
}

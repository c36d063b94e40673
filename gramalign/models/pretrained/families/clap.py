"""CLAP (arXiv 2211.06687): texts and sounds in one space, by RoBERTa and HTS-AT.

What looks at several parts of a longer sound at once ("fusion") is not here: a sound is embedded
window by window.
"""

from typing import Any

from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder, FirstMapped, Projection
from gramalign.models.pretrained.families.bert import BERT_NAMES, ROBERTA_DEFAULTS, front_and_body
from gramalign.models.pretrained.families.recipe import (
    BASE,
    Config,
    Recipe,
    known,
    pair,
    shape_of,
    without_statistics,
)
from gramalign.models.pretrained.swin import Folded, Swin
from gramalign.models.pretrained.transformer import Shape
from gramalign.settings import part_of, settled

_clap = {"projection_dim": 512, "projection_hidden_act": "relu"}
_text = {**ROBERTA_DEFAULTS, "type_vocab_size": 1, "max_position_embeddings": 514}
_audio = {
    **{**BASE, "layer_norm_eps": 1e-5, "qkv_bias": True, "mlp_ratio": 4.0},
    **{"patch_embeds_hidden_size": 96, "window_size": 8, "enable_fusion": False},
    **{"depths": (2, 2, 6, 2), "num_attention_heads": (4, 8, 16, 32)},
    **{"num_mel_bins": 64, "spec_size": 256, "patch_size": 4, "patch_stride": (4, 4)},
}


def _make_text(config: Config, dtype: DTypeLike) -> Encoder:
    text = settled(_text, part_of(config, "text_config"), "text_config")
    shape, front, body = front_and_body(text, text["pad_token_id"], dtype)
    head = _projection(config, shape)
    return Encoder("text", head.dim, front, body, FirstMapped(shape), head)


def _make_audio(config: Config, dtype: DTypeLike) -> Encoder:
    audio = settled(_audio, part_of(config, "audio_config"), "audio_config")
    if audio["enable_fusion"]:
        raise ValueError(
            "enable_fusion is true, expected false: take a CLAP without fusion, such as "
            "clap-htsat-unfused; this one's texts can be encoded"
        )
    depths, heads = audio["depths"], audio["num_attention_heads"]
    if len(depths) != len(heads):
        raise ValueError(
            f"depths and num_attention_heads have {[len(depths), len(heads)]} entries, expected as "
            "many of each"
        )
    shapes = [
        _stage(audio, audio["patch_embeds_hidden_size"] << number, *sizes, dtype)
        for number, sizes in enumerate(zip(depths, heads, strict=True))
    ]
    size, patch, stride = audio["spec_size"], pair(audio["patch_size"]), pair(audio["patch_stride"])
    front = Folded(shapes[0], audio["num_mel_bins"], size, patch, stride)
    body = Swin(shapes, (size // stride[0], size // stride[1]), audio["window_size"])
    head = _projection(config, shapes[-1])
    return Encoder("audio", head.dim, front, body, pools.mean, head)


def _stage(audio: Config, width: int, depth: int, heads: int, dtype: DTypeLike) -> Shape:
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": int(audio["mlp_ratio"] * width),
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
    }
    return shape_of({**audio, **sizes}, dtype, biases=(bool(audio["qkv_bias"]),) * 3)


def _projection(config: Config, shape: Shape) -> Projection:
    config = settled(_clap, config)
    activation = known(config, "projection_hidden_act")
    return Projection(shape, config["projection_dim"], activation)


def _projection_names(name: str) -> dict[str, str]:
    return {"head.first": f"{name}.linear1", "head.second": f"{name}.linear2"}


_ENCODER = "audio_model.audio_encoder"
_LAYER = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.out": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "places": "attention.self.relative_position_bias_table",
    "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
    "mlp_norm": "layernorm_after",
}
_AUDIO_NAMES = {
    "front.scale": f"{_ENCODER}.batch_norm.scale",
    "front.shift": f"{_ENCODER}.batch_norm.shift",
    "front.map": f"{_ENCODER}.patch_embed.proj",
    "front.norm": f"{_ENCODER}.patch_embed.norm",
    **{
        f"body.stages.*.layers.*.{ours}": f"{_ENCODER}.layers.*.blocks.*.{theirs}"
        for ours, theirs in _LAYER.items()
    },
    "body.stages.*.norm": f"{_ENCODER}.layers.*.downsample.norm",
    "body.stages.*.merge": f"{_ENCODER}.layers.*.downsample.reduction",
    "body.norm": f"{_ENCODER}.norm",
    **_projection_names("audio_projection"),
}


CLAP = {
    "text": Recipe(
        _make_text,
        {
            **{ours: f"text_model.{theirs}" for ours, theirs in BERT_NAMES.items()},
            "pool.map": "text_model.pooler.dense",
            **_projection_names("text_projection"),
        },
        ("text_model.", "text_projection."),
        unused=("position_ids", "token_type_ids"),
    ),
    "audio": Recipe(
        _make_audio,
        _AUDIO_NAMES,
        ("audio_model.", "audio_projection."),
        unused=("relative_position_index", "num_batches_tracked"),
        adapted=lambda weights: without_statistics(weights, f"{_ENCODER}.batch_norm."),
    ),
}

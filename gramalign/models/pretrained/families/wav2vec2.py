"""wav2vec 2.0 (arXiv 2006.11477), HuBERT (2106.07447), WavLM (2110.13900), of sounds' samples."""

from typing import Any

import numpy as np
from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    BASE,
    Config,
    Make,
    Names,
    Recipe,
    Weights,
    known,
    layers,
    projections,
    shape_of,
    without_statistics,
)
from gramalign.models.pretrained.transformer import Distances, Transformer
from gramalign.models.pretrained.waves import Step, Waves
from gramalign.settings import settled

_wav2vec2 = {
    **{**BASE, "layer_norm_eps": 1e-5, "do_stable_layer_norm": False},
    **{"conv_dim": (512,) * 7, "conv_stride": (5, 2, 2, 2, 2, 2, 2)},
    **{"conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_bias": False},
    **{"feat_extract_norm": "group", "feat_extract_activation": "gelu"},
    **{"num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16},
    **{"feat_proj_layer_norm": True},
}
_hubert = {**_wav2vec2, "conv_pos_batch_norm": False}
_wavlm = {**_wav2vec2, "num_buckets": 320, "max_bucket_distance": 800}


def _make_hubert(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_hubert, config)
    return _make(config, dtype, scaled=config["conv_pos_batch_norm"])


def _make_wavlm(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_wavlm, config)
    distances = Distances(config["num_buckets"], config["max_bucket_distance"], gate="tokens")
    return _make(config, dtype, distances=distances)


def _make(config: Config, dtype: DTypeLike, *, scaled: bool = False, **others: Any) -> Encoder:
    config = settled(_wav2vec2, config)
    if (norm := config["feat_extract_norm"]) not in ("group", "layer"):
        raise ValueError(f"feat_extract_norm is {norm!r}, expected 'group' or 'layer'")
    sizes = [config[f"conv_{name}"] for name in ("dim", "kernel", "stride")]
    if len({len(each) for each in sizes}) != 1:
        raise ValueError(
            f"conv_dim, conv_kernel and conv_stride have {[len(each) for each in sizes]} entries, "
            "expected as many of each"
        )
    shape = shape_of(config, dtype, norm_first=config["do_stable_layer_norm"], **others)
    front = Waves(
        shape,
        [Step(*each) for each in zip(*sizes, strict=True)],
        norm=norm,
        activation=known(config, "feat_extract_activation"),
        bias=config["conv_bias"],
        projection_norm=config["feat_proj_layer_norm"],
        near=config["num_conv_pos_embeddings"],
        groups=config["num_conv_pos_embedding_groups"],
        scaled=scaled,
    )
    return Encoder("audio", shape.width, front, Transformer(shape), pools.mean)


_STATISTICS = "encoder.pos_conv_embed.batch_norm."
_NAMES = {
    "front.layers.*.conv": "feature_extractor.conv_layers.*.conv",
    "front.layers.*.norm": "feature_extractor.conv_layers.*.layer_norm",
    "front.projection_norm": "feature_projection.layer_norm",
    "front.projection": "feature_projection.projection",
    "front.places": "encoder.pos_conv_embed.conv",
    "front.places.scale": f"{_STATISTICS}scale",
    "front.places.shift": f"{_STATISTICS}shift",
    **layers(
        "encoder.layers",
        **{
            **projections("attention"),
            "attention_norm": "layer_norm",
            "mlp.up": "feed_forward.intermediate_dense",
            "mlp.down": "feed_forward.output_dense",
            "mlp_norm": "final_layer_norm",
        },
    ),
    # Before the layers, or after them where each normalises what it sees.
    "front.norm": "encoder.layer_norm",
    "body.norm": "encoder.layer_norm",
}
_WAVLM_NAMES = {
    **_NAMES,
    **layers(
        "encoder.layers",
        **{
            "attention.gate.map": "attention.gru_rel_pos_linear",
            "attention.gate.weight": "attention.gru_rel_pos_const",
        },
    ),
    "body.distances": "encoder.layers.0.attention.rel_attn_embed",
}


def with_length(weights: Weights, before: str = "encoder.pos_conv_embed.conv") -> Weights:
    """Kernels of neighbours, whose length and direction are apart there, by two names."""
    for length, direction in (
        (f"{before}.weight_g", f"{before}.weight_v"),
        tuple(f"{before}.parametrizations.weight.original{n}" for n in (0, 1)),
    ):
        if {length, direction} <= weights.keys():
            long, kernel = (weights.pop(n).astype(np.float32) for n in (length, direction))
            norm = np.sqrt(np.sum(kernel**2, axis=(0, 1), keepdims=True))
            weights[f"{before}.weight"] = long * kernel / norm
    return weights


def _adapted(weights: Weights) -> Weights:
    return with_length(without_statistics(weights, _STATISTICS))


def _recipes(name: str, make: Make = _make, names: Names = _NAMES) -> dict[str, Recipe]:
    recipe = Recipe(
        make,
        names,
        ("feature_extractor.", "feature_projection.", "encoder.", "adapter."),
        prefixes=(f"{name}.", ""),
        unused=("num_batches_tracked",),
        adapted=_adapted,
    )
    return {"audio": recipe}


WAV2VEC2, HUBERT = _recipes("wav2vec2"), _recipes("hubert", _make_hubert)
WAVLM = _recipes("wavlm", _make_wavlm, _WAVLM_NAMES)

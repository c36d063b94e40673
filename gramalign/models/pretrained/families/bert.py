"""BERT (arXiv 1810.04805), RoBERTa (arXiv 1907.11692), and sentence encoders made of them."""

import re

from flax import nnx
from jax.typing import DTypeLike

from gramalign.models.pretrained import encoder as pools
from gramalign.models.pretrained.encoder import Encoder
from gramalign.models.pretrained.families.recipe import (
    BASE,
    Config,
    Make,
    Recipe,
    Weights,
    layers,
    shape_of,
)
from gramalign.models.pretrained.fronts import Tokens
from gramalign.models.pretrained.transformer import Transformer

_bert = {
    **BASE,
    **{"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2},
    **{"pool": "mean", "position_embedding_type": "absolute"},
}
_roberta = {**_bert, "vocab_size": 50265, "pad_token_id": 1}


def _make_bert(config: Config, dtype: DTypeLike, rngs: nnx.Rngs) -> Encoder:
    return _bert_like({**_bert, **config}, None, dtype, rngs)


def _make_roberta(config: Config, dtype: DTypeLike, rngs: nnx.Rngs) -> Encoder:
    config = {**_roberta, **config}
    return _bert_like(config, config["pad_token_id"], dtype, rngs)


def _bert_like(config: Config, pad: int | None, dtype: DTypeLike, rngs: nnx.Rngs) -> Encoder:
    if (positions := config["position_embedding_type"]) != "absolute":
        raise ValueError(f"position_embedding_type is {positions!r}, expected 'absolute'")
    shape = shape_of(config, dtype, norm_first=False)
    places = config["max_position_embeddings"]
    tables = {"kinds": config["type_vocab_size"], "pad": pad, "norm": True}
    front = Tokens(shape, config["vocab_size"], places, **tables, rngs=rngs)
    pool = {"mean": pools.mean, "first": pools.first}[config["pool"]]
    return Encoder("text", shape.width, front, Transformer(shape, rngs), pool)


_BERT_NAMES = {
    "front.words": "embeddings.word_embeddings",
    "front.places": "embeddings.position_embeddings",
    "front.kinds": "embeddings.token_type_embeddings",
    "front.norm": "embeddings.LayerNorm",
    **layers(
        "encoder.layer",
        **{
            "attention.query": "attention.self.query",
            "attention.key": "attention.self.key",
            "attention.value": "attention.self.value",
            "attention.out": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "mlp.up": "intermediate.dense",
            "mlp.down": "output.dense",
            "mlp_norm": "output.LayerNorm",
        },
    ),
}


def _new_names(weights: Weights) -> Weights:
    """TensorFlow's names of normalisation, which the oldest checkpoints still have."""
    ours = {"gamma": "weight", "beta": "bias"}
    return {re.sub(r"\b(gamma|beta)$", lambda x: ours[x[0]], n): w for n, w in weights.items()}


def _recipes(make: Make, name: str) -> dict[str, Recipe]:
    recipe = Recipe(
        make,
        _BERT_NAMES,
        ("embeddings.", "encoder."),
        prefixes=(f"{name}.", ""),
        unused=("position_ids",),
        adapted=_new_names,
    )
    return {"text": recipe}


BERT, ROBERTA = _recipes(_make_bert, "bert"), _recipes(_make_roberta, "roberta")

"""BERT (arXiv 1810.04805) and its kin, and sentence encoders made of them.

RoBERTa is of arXiv 1907.11692, DistilBERT of arXiv 1910.01108, MPNet of arXiv 2004.09297.
"""

import re
from typing import Any

from jax.typing import DTypeLike

from gramalign.decoding.folders import MODULES
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
    shape_of,
    width_of,
)
from gramalign.models.pretrained.fronts import Tokens
from gramalign.models.pretrained.sentences import Dense
from gramalign.models.pretrained.transformer import Distances, Shape, Transformer
from gramalign.settings import settled

_bert = {
    **BASE,
    **{"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2},
    **{"position_embedding_type": "absolute", "is_decoder": False},
}
ROBERTA_DEFAULTS = {**_bert, "vocab_size": 50265, "pad_token_id": 1}
"""What Hugging Face takes where a configuration of RoBERTa is silent."""
_NO_KINDS = {"type_vocab_size": 0}  # of MPNet and DistilBERT, whatever a configuration says
_mpnet = {**_bert, "vocab_size": 30527, "relative_attention_num_buckets": 32}
_distilbert = {
    **_bert,
    **{"dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12, "activation": "gelu"},
}


def _make_bert(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_bert, config)
    return _bert_like(config, None, dtype, causal=config["is_decoder"])


def _make_roberta(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(ROBERTA_DEFAULTS, config)
    return _bert_like(config, config["pad_token_id"], dtype, causal=config["is_decoder"])


def _make_mpnet(config: Config, dtype: DTypeLike) -> Encoder:
    config = {**settled(_mpnet, config), **_NO_KINDS}
    distances = Distances()
    if (ranges := config["relative_attention_num_buckets"]) != distances.ranges:
        # Hugging Face makes a table of so many, and looks up the usual ones.
        raise ValueError(f"relative_attention_num_buckets is {ranges}, expected {distances.ranges}")
    # Whatever pad_token_id says.
    return _bert_like(config, 1, dtype, distances=distances)


def _make_distilbert(config: Config, dtype: DTypeLike) -> Encoder:
    config = settled(_distilbert, config)
    sizes = {
        "hidden_size": config["dim"],
        "intermediate_size": config["hidden_dim"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "hidden_act": known(config, "activation"),
        "layer_norm_eps": BASE["layer_norm_eps"],  # as there, whatever a configuration says
    }
    return _bert_like({**config, **sizes, **_NO_KINDS}, None, dtype)


def _bert_like(config: Config, pad: int | None, dtype: DTypeLike, **others: Any) -> Encoder:
    shape, front, body = front_and_body(config, pad, dtype, **others)
    said = config.get(MODULES, {})
    pool = {"mean": pools.mean, "first": pools.first}[said.get("pool", "mean")]
    head = Dense(shape, said["dense"]) if "dense" in said else None
    return Encoder("text", width_of(shape, head), front, body, pool, head)


def front_and_body(
    config: Config, pad: int | None, dtype: DTypeLike, **others: Any
) -> tuple[Shape, Tokens, Transformer]:
    """What makes tokens of texts, and maps them.

    Args:
        config: with all names of `ROBERTA_DEFAULTS`.
        pad: as for `Tokens`.
        dtype: what is multiplied in.
        others: of the `Shape`.

    Raises:
        ValueError: for positions that are no table, or an activation that is not known.
    """
    if (positions := config["position_embedding_type"]) != "absolute":
        raise ValueError(f"position_embedding_type is {positions!r}, expected 'absolute'")
    shape = shape_of(config, dtype, norm_first=False, **others)
    places = config["max_position_embeddings"]
    tables = {"kinds": config["type_vocab_size"], "pad": pad, "norm": True}
    front = Tokens(shape, config["vocab_size"], places, **tables)
    return shape, front, Transformer(shape)


_ENDS = {
    "head": "dense.linear",
    "front.words": "embeddings.word_embeddings",
    "front.places": "embeddings.position_embeddings",
    "front.norm": "embeddings.LayerNorm",
}
BERT_NAMES = {
    **_ENDS,
    "front.kinds": "embeddings.token_type_embeddings",
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
_MPNET_NAMES = {
    **_ENDS,
    **layers(
        "encoder.layer",
        **{
            "attention.query": "attention.attn.q",
            "attention.key": "attention.attn.k",
            "attention.value": "attention.attn.v",
            "attention.out": "attention.attn.o",
            "attention_norm": "attention.LayerNorm",
            "mlp.up": "intermediate.dense",
            "mlp.down": "output.dense",
            "mlp_norm": "output.LayerNorm",
        },
    ),
    "body.distances": "encoder.relative_attention_bias",
}
_DISTILBERT_NAMES = {
    **_ENDS,
    **layers(
        "transformer.layer",
        **{
            "attention.query": "attention.q_lin",
            "attention.key": "attention.k_lin",
            "attention.value": "attention.v_lin",
            "attention.out": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "mlp.up": "ffn.lin1",
            "mlp.down": "ffn.lin2",
            "mlp_norm": "output_layer_norm",
        },
    ),
}


def _new_names(weights: Weights) -> Weights:
    """TensorFlow's names of normalisation, which the oldest checkpoints still have."""
    ours = {"gamma": "weight", "beta": "bias"}
    return {re.sub(r"\b(gamma|beta)$", lambda x: ours[x[0]], n): w for n, w in weights.items()}


def _recipes(make: Make, name: str, names: Names = BERT_NAMES) -> dict[str, Recipe]:
    recipe = Recipe(
        make,
        names,
        ("embeddings.", "encoder.", "transformer."),
        prefixes=(f"{name}.", ""),
        unused=("position_ids",),
        adapted=_new_names,
    )
    return {"text": recipe}


BERT, ROBERTA = _recipes(_make_bert, "bert"), _recipes(_make_roberta, "roberta")
MPNET = _recipes(_make_mpnet, "mpnet", _MPNET_NAMES)
DISTILBERT = _recipes(_make_distilbert, "distilbert", _DISTILBERT_NAMES)

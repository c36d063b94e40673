"""One compilation per shape: values, masks, groups and temperatures are data."""

import chex
import jax
import jax.numpy as jnp

from gramalign.contrast import Engine, ranks
from tests import contrast_engine as engine
from tests.every_score import SCORES


def test_one_trace_for_all_values():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def call(embeddings, scale, present, groups):
        return engine.losses(
            "cosine of two", embeddings, scale, present, groups, engine=Engine(tile=6)
        )

    for kind, factor in (("plain", 1), ("masked", 3), ("grouped", 0.1), ("nothing", 1)):
        embeddings, scale, _, present, groups = jax.tree.map(jnp.asarray, engine.batch(kind))
        call(embeddings, factor * scale, present, groups)


def test_a_score_is_a_static_argument_by_value():
    @chex.assert_max_traces(n=1)
    def call(score, embeddings):
        return ranks(score, score.rows(embeddings), score.cols(embeddings), engine=Engine(tile=6))

    compiled = jax.jit(call, static_argnums=0)
    embeddings = jax.tree.map(jnp.asarray, engine.batch("plain")[0])
    score = SCORES["cosine of two"]
    compiled(score, embeddings)
    compiled(type(score)(score.row, score.col), embeddings)

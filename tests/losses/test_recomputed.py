"""A derivative computes no tuple's factorisation again: each would be one more loop."""

import jax
import jax.numpy as jnp
import pytest

from gramalign.losses import gram, hypergram, simplex, spectral

EMBEDDINGS = {name: jnp.eye(8) for name in ("text", "video", "audio")}


@pytest.mark.parametrize("loss", [gram, simplex, hypergram, spectral])
@pytest.mark.parametrize("anchor", ["text", None])
def test_a_derivative_adds_the_loops_over_tiles_and_no_others(loss, anchor):
    def mean(embeddings):
        return loss(embeddings, anchor=anchor).mean()

    anchors = 1 if anchor else len(EMBEDDINGS)
    assert loops(jax.grad(mean)) == loops(mean) + 2 * anchors


def loops(function):
    return str(jax.make_jaxpr(function)(EMBEDDINGS)).count(" scan[")
